using Linux.Bpf;
using SystemTap.Bpf.Plan;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Bpf.Emit;

// Deleting many elements, and making room in arrays declared with %.

internal sealed partial class ProgramEmitter
{
    private void DeleteMatching(int map, KeyLayout layout, DeleteStmt s) =>
        throw Cannot($"deleting all or several elements of \"{s.Global.Name}\" in a handler that runs in the kernel", s.Span, "do it in a timer probe, or run with --runtime=kernel");

    private void MakeRoom(Global array, GlobalStorage.Array storage, Mem key, Mem area) =>
        throw Cannot($"array \"{array.Name}\" is declared with % and written in a handler that runs in the kernel", array.Span);
}
