using Linux.Bpf;
using SystemTap.Bpf.Emit;
using SystemTap.Bpf.Plan;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Bpf.Context;

// "Is the current process one of those the probe means?" Executables are recognised by inode and device of the memory map's file, so a program
// started by any name or link is found, also from inside a container, and no path is compared per event.

/// <summary>Emits tests of the current process.</summary>
internal static class ProcessFilters
{
    /// <summary>Goes to the label unless the current process passes.</summary>
    public static void Emit(ProgramEmitter e, ProcessFilter? filter, Label skip, SourceSpan span)
    {
        var c = e.Compilation;
        var code = e.Code;
        switch (filter)
        {
            case null:
                break;
            case ProcessFilter.All:
                if (c.TargetSetMap >= 0)
                {
                    e.CurrentIds();
                    code.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
                    e.InTargetSet(Reg.R0);
                    code.JumpIf(JumpOp.Eq, Reg.R0, 0, skip);
                }

                break;
            case ProcessFilter.Pid p:
                e.CurrentIds();
                code.Emit(Instruction.Alu64(AluOp.Rsh, Reg.R0, 32));
                code.JumpIf(JumpOp.Ne, Reg.R0, p.Id, skip);
                break;
            case ProcessFilter.Executable x:
                var identity = c.Options.FileIdentity(x.Path)
                    ?? throw new BpfCannotException($"program \"{x.Path}\" cannot be identified: it cannot be opened", span, "check the path");
                var task = c.Structure("task_struct", span);
                var typed = e.CurrentTask();
                Follow(e, task, "mm", typed, skip);
                Follow(e, c.Structure("mm_struct", span), "exe_file", typed, skip);
                Follow(e, c.Structure("file", span), "f_inode", typed, skip);
                var inode = c.Structure("inode", span);
                code.Emit(Instruction.Mov(Reg.R8, Reg.R0));
                e.LoadField(Reg.R1, Reg.R8, c.Offset(inode, "i_ino", span), 8, typed);
                code.LdImm64(Reg.R3, identity.Inode);
                code.JumpIf(JumpOp.Ne, Reg.R1, Reg.R3, skip);
                e.LoadField(Reg.R0, Reg.R8, c.Offset(inode, "i_sb", span), 8, typed);
                code.JumpIf(JumpOp.Eq, Reg.R0, 0, skip);
                e.LoadField(Reg.R1, Reg.R0, c.Offset(c.Structure("super_block", span), "s_dev", span), 4, typed);
                code.LdImm64(Reg.R3, identity.Device);
                code.JumpIf(JumpOp.Ne, Reg.R1, Reg.R3, skip);
                break;
        }
    }

    /// <summary>R0 = R0->member; null goes to the label.</summary>
    private static void Follow(ProgramEmitter e, BtfType type, string member, bool typed, Label skip)
    {
        e.LoadField(Reg.R0, Reg.R0, e.Compilation.Offset(type, member, default), 8, typed);
        e.Code.JumpIf(JumpOp.Eq, Reg.R0, 0, skip);
    }
}
