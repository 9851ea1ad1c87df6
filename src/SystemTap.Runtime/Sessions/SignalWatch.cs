using System.Runtime.InteropServices;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Sessions;

/// <summary>
/// Turns SIGINT, SIGTERM, SIGHUP and SIGUSR2 into something the event loop can wait for. The first asks for a normal end, the second skips what is
/// left of the end probes, the third leaves at once with status 1.
/// </summary>
internal sealed class SignalWatch : IDisposable
{
    private readonly List<PosixSignalRegistration> _registrations = [];
    private int _interrupts;
    private int _rotations;
    private int _quits;

    /// <param name="quitDetaches">SIGQUIT is no interrupt: <see cref="TakeQuit"/> tells of it.</param>
    public SignalWatch(bool quitDetaches = false)
    {
        // 0x80800: close on exec, non-blocking.
        Descriptor = Libc.eventfd(0, 0x80800);
        foreach (var signal in (ReadOnlySpan<PosixSignal>)[PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP, PosixSignal.SIGQUIT])
        {
            _registrations.Add(PosixSignalRegistration.Create(signal, signal == PosixSignal.SIGQUIT && quitDetaches ? OnQuit : OnInterrupt));
        }

        // Raw number: SIGUSR2 has no name in .NET.
        _registrations.Add(PosixSignalRegistration.Create((PosixSignal)12, OnRotate));
    }

    /// <summary>Readable when a signal came.</summary>
    public int Descriptor { get; private set; }

    public int Interrupts => Volatile.Read(ref _interrupts);

    /// <summary>True once after SIGQUIT, when <c>quitDetaches</c>.</summary>
    public bool TakeQuit() => Interlocked.Exchange(ref _quits, 0) > 0;

    /// <summary>True once for each SIGUSR2.</summary>
    public bool TakeRotation() => Interlocked.Exchange(ref _rotations, 0) > 0;

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }

        _registrations.Clear();
        if (Descriptor >= 0)
        {
            Libc.close(Descriptor);
            Descriptor = -1;
        }
    }

    /// <summary>Makes the descriptor unreadable again.</summary>
    public unsafe void Acknowledge()
    {
        ulong count;
        _ = Libc.read(Descriptor, (byte*)&count, 8);
    }

    private void OnInterrupt(PosixSignalContext context)
    {
        context.Cancel = true;
        if (Interlocked.Increment(ref _interrupts) >= 3)
        {
            Libc._exit(1);
        }

        Wake();
    }

    private void OnQuit(PosixSignalContext context)
    {
        context.Cancel = true;
        Interlocked.Increment(ref _quits);
        Wake();
    }

    private void OnRotate(PosixSignalContext context)
    {
        context.Cancel = true;
        Interlocked.Increment(ref _rotations);
        Wake();
    }

    private unsafe void Wake()
    {
        ulong one = 1;
        _ = Libc.write(Descriptor, (byte*)&one, 8);
    }
}

/// <summary>Signals as the parent left them.</summary>
public static class InheritedSignals
{
    /// <summary>
    /// A shell script that says <c>stap … &amp;</c> starts it with SIGINT and SIGQUIT ignored, and .NET would leave them so; but <c>kill -INT</c> is how such a
    /// script ends its session, also while it still starts. SIGHUP stays ignored when it was: that is what nohup is for.
    /// </summary>
    public static void Reset()
    {
        _ = Libc.signal(Libc.SigInt, 0);
        _ = Libc.signal(Libc.SigQuit, 0);
    }
}
