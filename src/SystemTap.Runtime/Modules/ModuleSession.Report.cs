using System.Globalization;
using System.Runtime.InteropServices;
using SystemTap.Language.Text;
using SystemTap.Runtime.Host;
using SystemTap.Runtime.Native;
using SystemTap.Runtime.Sessions;

namespace SystemTap.Runtime.Modules;

// What the session says about itself, and the status it ends with.
public sealed unsafe partial class ModuleSession
{
    private ModuleTransport.Status Status()
    {
        ModuleTransport.Status status;
        Call(ModuleTransport.GetStatus, &status, "asked");
        return status;
    }

    private void TellLost(ulong lost)
    {
        if (lost > 0)
        {
            Complain($"Lost output records because the buffer was full (raise it with {_options.BufferOption}): {lost}");
        }

        if (_taken.Overwritten > 0)
        {
            Complain($"Output records that nobody read in time, replaced by newer ones (raise the buffer with {_options.BufferOption}): {_taken.Overwritten}");
        }
    }

    private int Report(bool started)
    {
        var status = Status();
        long skipped = 0;
        for (var i = 0; i < ModuleTransport.SkipReasons.Length; i++)
        {
            skipped += status.Skipped[i];
        }

        if (status.Errors > 0 || skipped > 0)
        {
            Complain($"Number of errors: {status.Errors}, skipped probes: {skipped}");
        }

        for (var i = 0; i < ModuleTransport.SkipReasons.Length; i++)
        {
            if (status.Skipped[i] > 0)
            {
                Complain(ModuleTransport.SkipReasons[i] + status.Skipped[i].ToString(CultureInfo.InvariantCulture));
            }
        }

        TellLost(_taken.Lost + status.Lost);
        if (status.Cuts > 0)
        {
            var first = Marshal.PtrToStringAnsi((nint)status.FirstCut);
            Complain($"Strings cut to MAXSTRINGLEN{(string.IsNullOrEmpty(first) ? "" : $" (first at {first})")}: {status.Cuts}");
        }

        if (Array.Find(_outputs, static o => o is { Error: not (0 or 32 /* EPIPE: the reader has what it wanted */) }) is { } failed)
        {
            Complain($"Output could not be written: {Marshal.GetPInvokeErrorMessage(failed.Error)}");
        }

        // As SystemTap: an error that was printed shows in the exit status, even when MAXERRORS let the session go on.
        var result = started && status.Failed == 0 && (status.Errors == 0 || status.Suppressed != 0) ? 0 : 1;
        if (_child is { } child && child.HasEnded() && child.Complaint() is { } complaint)
        {
            Complain(complaint);
            result = 1;
        }

        // Commands of system() may still print: a moment for them.
        for (var i = 0; i < 200 && _systemPids.Count > 0; i++)
        {
            Reap();
            Thread.Sleep(5);
        }

        return result;
    }

    private void Call(uint request, void* argument, string what)
    {
        if (ModuleTransport.ioctl(_control, request, argument) != 0)
        {
            throw new ModuleException($"module '{_name}' cannot be {what}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    private void Complain(string text)
    {
        if (!_options.SuppressWarnings)
        {
            Tell(ErrorText.Warning(text));
        }
    }

    private void Tell(string line)
    {
        if (Background.HasLeft)
        {
            _outputs[0]!.Write(ByteText.ForTerminal(line + "\n"));
            return;
        }

        Flush();
        Libc.WriteAll(2, ByteText.ForTerminal(line + "\n"));
    }

    private void Reap()
    {
        for (var i = _systemPids.Count - 1; i >= 0; i--)
        {
            int status;
            if (Libc.waitpid(_systemPids[i], &status, 1) != 0)
            {
                _systemPids.RemoveAt(i);
            }
        }
    }
}
