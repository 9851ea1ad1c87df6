using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("SystemTap.Tests")]
