using System.Runtime.InteropServices;
using System.Text;
using SystemTap.Language.Text;
using SystemTap.Runtime.Native;

namespace SystemTap.Runtime.Output;

/// <summary>
/// Standard output and error that may be closed, full or a pipe nobody reads. Messages that cannot be written are dropped: there is nobody to tell.
/// Output that cannot be written ends stap with one message; a reader that went away (EPIPE) ends it quietly.
/// </summary>
public static class StandardStreams
{
    /// <summary>Called first: no file of ours may get the number of a standard stream that the caller has closed.</summary>
    public static void Prepare()
    {
        for (var fd = 0; fd < 3; fd++)
        {
            if (Libc.fcntl(fd, 1 /* F_GETFD */, 0) < 0)
            {
                _ = Libc.open("/dev/null", fd == 0 ? 0 : 0x200000 /* O_PATH: reading and writing fail */, 0);
            }
        }

        Console.SetOut(new StreamWriter(Output(), Encoding.Latin1) { AutoFlush = true });
        Console.SetError(new MessageWriter());
    }

    /// <summary>Standard output, unbuffered.</summary>
    public static Stream Output() => new Writer(1);

    /// <summary>Standard error: messages name paths of the operating system and show bytes of the script.</summary>
    private sealed class MessageWriter : TextWriter
    {
        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char value) => Write([value]);

        public override void Write(char[] buffer, int index, int count) => Write(buffer.AsSpan(index, count));

        public override void Write(string? value) => Write(value.AsSpan());

        public override void Write(ReadOnlySpan<char> buffer) => Libc.WriteAll(2, ByteText.ForTerminal(buffer));
    }

    private sealed class Writer(int fd) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            var error = Libc.WriteAll(fd, buffer);
            if (error != 0 && fd == 1)
            {
                throw new OutputException(error == Libc.ErrorPipe ? null : $"standard output cannot be written: {Marshal.GetPInvokeErrorMessage(error)}; the output is incomplete");
            }
        }
    }
}

/// <summary>Standard output cannot be written; the message is null when its reader just went away.</summary>
public sealed class OutputException(string? message) : Exception(message)
{
    /// <summary>Nobody needs to be told.</summary>
    public bool IsQuiet { get; } = message is null;
}
