using SystemTap.Cli.CommandLine;
using SystemTap.Cli.Driver;
using SystemTap.Language.Text;
using SystemTap.Runtime.Output;
using SystemTap.Runtime.Sessions;

namespace SystemTap.Cli;

/// <summary>The <c>stap</c> command.</summary>
internal static class Program
{
    /// <summary>Passes recurse over syntax trees up to 1,500 levels high; address space only, touched when needed.</summary>
    private const int StackBytes = 256 << 20;

    private static int Main(string[] args)
    {
        StandardStreams.Prepare();
        InheritedSignals.Reset();

        // A thread of our own has a stack whose size we choose; start-up costs 0.1 ms.
        var status = 1;
        var thread = new Thread(() => status = Run(args), StackBytes);
        thread.Start();
        thread.Join();
        return status;
    }

    private static int Run(string[] args)
    {
        Options options;
        try
        {
            options = OptionParser.Parse([.. RcFile.Words(), .. args.Select(ByteText.FromText)]);
        }
        catch (UsageException e)
        {
            Complain(e.Message, e.Hint);
            return 1;
        }

        try
        {
            foreach (var (name, value) in options.ResourceLimits)
            {
                if (ResourceLimits.Set(name, value) is { } trouble)
                {
                    throw new UsageException($"option '--rlimit-{name}={value}' cannot be obeyed: {trouble}", "give a larger limit, or leave it out");
                }
            }

            switch (options.Mode)
            {
                case Mode.Interactive:
                    return new InteractivePrompt(Console.In, Console.Out).Run();
                case Mode.Help:
                    Console.Out.Write(Help.Text);
                    return 0;
                case Mode.Version:
                    Console.Out.Write(Help.VersionText);
                    return 0;
                case Mode.CleanCache:
                    return CacheCleaner.Clean();
                default:
                    return new SessionDriver(options).Run();
            }
        }
        catch (OutputException e)
        {
            if (e.IsQuiet)
            {
                return 0;
            }

            Complain(e.Message, null);
        }
        catch (UsageException e)
        {
            Complain(e.Message, e.Hint);
        }
        catch (Targets.TargetException e)
        {
            Complain(e.Message, null);
        }
        catch (IOException e)
        {
            Complain(e.Message, null);
        }
        catch (OutOfMemoryException)
        {
            Complain("the memory that may be used is used up", options.ResourceLimits.Count > 0 ? "give a larger --rlimit-as, or leave it out" : "end other programs, or make the script's tables smaller");
        }
        catch (Exception e)
        {
            // Nothing should come here: say that it is our defect, with what helps to find it.
            Complain($"internal error of stap: {e.GetType().Name}: {e.Message}", "please report it with the script; '-vvv' shows where it happened");
            if (options.Verbose(1, 3))
            {
                Console.Error.WriteLine(e.StackTrace);
            }
        }

        return 1;
    }

    private static void Complain(string message, string? hint)
    {
        Console.Error.WriteLine($"ERROR: {message}");
        if (hint is not null)
        {
            Console.Error.WriteLine($"hint: {hint}");
        }
    }
}
