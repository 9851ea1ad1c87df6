using System.Buffers.Binary;
using System.Text;

namespace SystemTap.Targets;

/// <summary>A statically defined mark (<c>&lt;sys/sdt.h&gt;</c>): a <c>nop</c> in the code and a note that says where it is and where its arguments are.</summary>
/// <param name="Provider">Group of marks: the library or program.</param>
/// <param name="Name">The mark.</param>
/// <param name="Address">The instruction, as linked (corrected when the file was moved after linking).</param>
/// <param name="Semaphore">Address of a 16-bit counter that tells the program somebody listens; 0 for none.</param>
/// <param name="Arguments">Text of the note, as the assembler wrote it: <c>-4@%edi 8@-16(%rbp)</c>.</param>
public sealed record SdtMark(string Provider, string Name, ulong Address, ulong Semaphore, string Arguments)
{
    /// <summary>All marks of a file in the order of their notes. Versions 1 and 2 of the macros, which wrote other notes, died with 2010.</summary>
    public static List<SdtMark> Of(ElfFile file)
    {
        var marks = new List<SdtMark>();
        var size = file.Is64 ? 8 : 4;
        var actualBase = file.FindSection(".stapsdt.base")?.Address;
        foreach (var note in ElfNotes.Of(file, ".note.stapsdt"))
        {
            var data = note.Data.Span;
            if (note.Type != 3 || note.Name != "stapsdt" || data.Length < 3 * size + 3)
                continue;
            var (address, linkedBase, semaphore) = (Number(data, 0), Number(data, 1), Number(data, 2));
            var text = data[(3 * size)..];
            var provider = Next(ref text);
            var name = Next(ref text);
            var arguments = Next(ref text);
            if (provider.Length == 0 || name.Length == 0)
                continue;
            // prelink moves addresses but not notes: the base section tells by how much.
            var moved = actualBase is { } now && linkedBase != 0 ? unchecked(now - linkedBase) : 0;
            marks.Add(new SdtMark(provider, name, unchecked(address + moved), semaphore == 0 ? 0 : unchecked(semaphore + moved), arguments));
        }
        return marks;

        ulong Number(ReadOnlySpan<byte> data, int index) => size == 8
            ? BinaryPrimitives.ReadUInt64LittleEndian(data[(8 * index)..])
            : BinaryPrimitives.ReadUInt32LittleEndian(data[(4 * index)..]);

        static string Next(ref ReadOnlySpan<byte> text)
        {
            var end = text.IndexOf((byte)0);
            if (end < 0)
            {
                text = default;
                return "";
            }
            var result = Encoding.UTF8.GetString(text[..end]);
            text = text[(end + 1)..];
            return result;
        }
    }
}
