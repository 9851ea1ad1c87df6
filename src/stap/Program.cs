namespace SystemTap.Cli;

internal static class Program
{
    private static int Main(string[] args)
    {
        Console.WriteLine($"stap {args.Length}");
        return 0;
    }
}
