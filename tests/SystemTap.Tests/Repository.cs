namespace SystemTap.Tests;

/// <summary>Where the checkout is that the tests were built from.</summary>
internal static class Repository
{
    /// <summary>The root folder: the one that holds SystemTap.slnx.</summary>
    public static string Root { get; } = Find();

    /// <summary>The built program; <c>STAP</c> overrides.</summary>
    public static string Stap { get; } = Environment.GetEnvironmentVariable("STAP") ?? Path.Combine(Root, "out", "stap");

    private static string Find()
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "SystemTap.slnx")))
            {
                return folder;
            }
        }

        throw new InvalidOperationException($"no SystemTap.slnx above '{AppContext.BaseDirectory}'");
    }
}
