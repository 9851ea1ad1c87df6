using SystemTap.Targets;

namespace SystemTap.Cli.Driver;

/// <summary><c>--clean-cache</c>: removes what earlier sessions kept to start faster.</summary>
internal static class CacheCleaner
{
    public static int Clean()
    {
        if (CacheDirectory.Default is { } folder && Directory.Exists(folder))
        {
            foreach (var file in Directory.EnumerateFiles(folder))
            {
                File.Delete(file);
            }
        }

        return 0;
    }
}
