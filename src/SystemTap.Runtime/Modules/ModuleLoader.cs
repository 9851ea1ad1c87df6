using System.Runtime.InteropServices;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Modules;

/// <summary>Loads and removes script modules, and cleans up after sessions whose staprun was killed.</summary>
public static unsafe class ModuleLoader
{
    private const string Folder = "/proc/systemtap";

    /// <summary>The control file of a loaded module.</summary>
    internal static string ControlPath(string name) => $"{Folder}/{name}/control";

    /// <summary>Loads a module and opens its control file: nothing of the script has run yet.</summary>
    /// <param name="ringKilobytes">Output buffer of each CPU; 0: the module's own choice.</param>
    /// <exception cref="ModuleException">The kernel refuses it.</exception>
    internal static int Load(ModuleFile module, long ringKilobytes)
    {
        // Modules that were just loaded and not yet opened look like left-over ones: one staprun at a time does both.
        using var turn = new Turn();
        RemoveLeftOvers();
        var file = Libc.open(module.Path, Libc.OpenReadOnly | Libc.OpenCloseOnExec, 0);
        if (file < 0)
        {
            throw new ModuleException($"module file '{module.Path}' cannot be opened: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        var result = ModuleTransport.syscall(ModuleTransport.ModuleCalls.Load, file, ringKilobytes > 0 ? $"ring_kb={ringKilobytes}" : "", 0);
        var error = Marshal.GetLastPInvokeError();
        Libc.close(file);
        if (result != 0 && error == 1 && Launcher() is { } launcher)
        {
            // Its exit status: 0, 100 + the kernel's error number, or 1 after a message of its own.
            const int KernelSays = 100;
            var status = Launch(launcher, ["load", Path.GetFullPath(module.Path), .. ringKilobytes > 0 ? [ringKilobytes.ToString(System.Globalization.CultureInfo.InvariantCulture)] : (string[])[]]);
            (result, error) = (status, status - KernelSays);
            if (status is > 0 and <= KernelSays)
            {
                throw new ModuleException($"module '{module.Name}' was not loaded");
            }
        }

        if (result != 0)
        {
            throw Refusal(module, error);
        }

        try
        {
            return Open(module.Name);
        }
        catch (ModuleException)
        {
            _ = TryRemove(module.Name);
            throw;
        }
    }

    /// <summary>Opens the control file of a module that is loaded already.</summary>
    internal static int Open(string name)
    {
        var control = Libc.open(ControlPath(name), Libc.OpenReadWrite | Libc.OpenCloseOnExec, 0);
        return control >= 0 ? control : throw Marshal.GetLastPInvokeError() switch
        {
            2 => new ModuleException($"no script module '{name}' is loaded", "see the folders in /proc/systemtap"),
            16 => new ModuleException($"module '{name}' belongs to another staprun, which is running", "end that one first, or detach it with SIGQUIT") { IsInUse = true },
            13 or 1 => new ModuleException($"module '{name}' cannot be controlled: permission denied", "run as root"),
            _ => new ModuleException($"module '{name}' cannot be controlled: {Marshal.GetLastPInvokeErrorMessage()}"),
        };
    }

    /// <summary>Removes a script module that no staprun drives (<c>staprun -d</c>).</summary>
    /// <exception cref="ModuleException">It is none of ours, in use, or stays for another reason.</exception>
    public static void Remove(string name)
    {
        // The kernel would also remove a module whose control file is open, under the staprun that has it; and any other module that nobody uses.
        using var turn = new Turn();
        Libc.close(Open(name));
        Unload(name);
    }

    /// <summary>Unloads a module; waits a moment when it is busy. One that is gone already is fine.</summary>
    /// <exception cref="ModuleException">It stays.</exception>
    internal static void Unload(string name)
    {
        for (var tries = 0; ; tries++)
        {
            var error = TryRemove(name);
            if (error is 0 or 2)
            {
                return;
            }

            if (error is not (11 or 16) || tries == 200)
            {
                throw error switch
                {
                    1 => new ModuleException($"module '{name}' cannot be removed: permission denied", "run as root"),
                    11 or 16 => new ModuleException($"module '{name}' is in use", $"try 'staprun -d {name}' later"),
                    _ => new ModuleException($"module '{name}' cannot be removed: {Marshal.GetPInvokeErrorMessage(error)}"),
                };
            }

            Thread.Sleep(10);
        }
    }

    /// <summary>Removes all modules that no staprun drives, also those that were left running (<c>staprun -d '*'</c>).</summary>
    /// <exception cref="ModuleException">One stays.</exception>
    public static void RemoveUnused()
    {
        using var turn = new Turn();
        ModuleException? failure = null;
        foreach (var folder in Directory.Exists(Folder) ? Directory.GetDirectories(Folder) : [])
        {
            try
            {
                var name = Path.GetFileName(folder);
                Libc.close(Open(name));
                Unload(name);
            }
            catch (ModuleException e) when (e.IsInUse)
            {
                // Not ours to remove.
            }
            catch (ModuleException e)
            {
                failure = e;
            }
        }

        if (failure is not null)
        {
            throw failure;
        }
    }

    /// <summary>Removes modules that nobody drives and whose session is over.</summary>
    internal static void RemoveLeftOvers()
    {
        if (!Directory.Exists(Folder))
        {
            return;
        }

        foreach (var folder in Directory.GetDirectories(Folder))
        {
            var control = Libc.open(Path.Combine(folder, "control"), Libc.OpenReadWrite | Libc.OpenCloseOnExec, 0);
            if (control < 0)
            {
                continue;
            }

            ModuleTransport.Info info;
            var known = ModuleTransport.ioctl(control, ModuleTransport.GetInfo, &info) == 0;
            Libc.close(control);
            if (known && info.State is ModuleTransport.Loaded or ModuleTransport.Ended)
            {
                _ = TryRemove(Path.GetFileName(folder));
            }
        }
    }

    private static int TryRemove(string name)
    {
        if (ModuleTransport.syscall_name(ModuleTransport.ModuleCalls.Remove, name, Libc.OpenNonBlock) == 0)
        {
            return 0;
        }

        var error = Marshal.GetLastPInvokeError();
        return error == 1 && Launcher() is { } launcher && Launch(launcher, ["remove", name]) == 0 ? 0 : error;
    }

    /// <summary>The privileged helper for users who are not root (runtime/launcher): beside this program, or on PATH.</summary>
    private static string? Launcher()
    {
        if (Libc.getuid() == 0)
        {
            return null;
        }

        foreach (var folder in (string[])[AppContext.BaseDirectory, .. (Environment.GetEnvironmentVariable("PATH") ?? "/usr/bin").Split(':', StringSplitOptions.RemoveEmptyEntries)])
        {
            var path = Path.Combine(folder, "stap-launch");
            if (File.Exists(path))
            {
                return path;
            }
        }

        return null;
    }

    private static int Launch(string program, string[] words)
    {
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(program, words));
        process!.WaitForExit();
        return process.ExitCode;
    }

    /// <summary>As <c>uname -r</c> says it; empty when /proc does not.</summary>
    internal static string RunningRelease() => File.Exists("/proc/sys/kernel/osrelease") ? File.ReadAllText("/proc/sys/kernel/osrelease").Trim() : "";

    private static ModuleException Refusal(ModuleFile module, int error)
    {
        var running = RunningRelease();
        var lockdown = File.Exists("/sys/kernel/security/lockdown") ? File.ReadAllText("/sys/kernel/security/lockdown") : "";
        var what = $"module '{module.Name}' cannot be loaded: ";
        if (module.Release != running && running.Length > 0 && error is 8 or 22 or 2)
        {
            return new ModuleException($"{what}it is for kernel '{module.Release}', and this is '{running}'", $"build it with 'stap -r {running} -p4'");
        }

        return error switch
        {
            1 when File.Exists("/proc/sys/kernel/modules_disabled") && File.ReadAllText("/proc/sys/kernel/modules_disabled").Trim() == "1"
                => new ModuleException(what + "loading of modules is switched off (kernel.modules_disabled)", "restart the machine without that setting"),
            1 when lockdown.Contains("[integrity]", StringComparison.Ordinal) || lockdown.Contains("[confidentiality]", StringComparison.Ordinal)
                => new ModuleException(what + "the kernel is locked down (secure boot) " + Unsigned(module), SigningHint(module)),
            1 => new ModuleException(what + "permission denied", "run as root, or as a member of the groups stapusr and stapdev through stap-launch"),
            17 => new ModuleException(what + "one of this name is loaded", $"end that session, remove it with 'staprun -d {module.Name}', or give another name with -m"),
            126 or 127 or 129 => new ModuleException(what + "the kernel loads signed modules only (module.sig_enforce) " + Unsigned(module), SigningHint(module)),
            74 => new ModuleException(what + "its signature does not fit its content: the file was changed after it was signed", "build it again with 'stap -p4'"),
            2 => new ModuleException(what + "the kernel lacks a symbol it needs", "see the kernel log (dmesg) for its name"),
            8 => new ModuleException(what + "its format does not suit this kernel", "see the kernel log (dmesg), and build it against this kernel's headers"),
            12 => new ModuleException(what + "there is not enough memory", "make arrays (MAXMAPENTRIES) or buffers (-s) smaller"),
            38 => new ModuleException(what + "this kernel was built without loadable modules", "use --runtime=bpf"),
            _ => new ModuleException(what + Marshal.GetPInvokeErrorMessage(error), "see the kernel log (dmesg)"),
        };
    }

    private static string Unsigned(ModuleFile module) => module.IsSigned ? "and does not know the key of this one's signature" : "and this one has no signature";

    private static string SigningHint(ModuleFile module) => module.IsSigned
        ? "make the key's certificate known with 'mokutil --import CERTIFICATE' and a restart, or start the kernel without that setting"
        : "set SYSTEMTAP_SIGN_KEY and SYSTEMTAP_SIGN_CERT to a key that the kernel knows (mokutil --import CERTIFICATE) when the module is built, or start the kernel without that setting";

    /// <summary>An exclusive lock between staprun processes; without a folder for it, none.</summary>
    private readonly struct Turn : IDisposable
    {
        private readonly int _file;

        public Turn()
        {
            _file = Libc.open("/run/stap.lock", Libc.OpenReadWrite | Libc.OpenCreate | Libc.OpenCloseOnExec, 0x180);
            if (_file >= 0)
            {
                _ = ModuleTransport.flock(_file, 2);
            }
        }

        public void Dispose()
        {
            if (_file >= 0)
            {
                Libc.close(_file);
            }
        }
    }
}
