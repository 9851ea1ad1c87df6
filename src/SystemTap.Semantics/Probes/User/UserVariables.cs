using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Targeting;
using SystemTap.Semantics.Probes.Families;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.User;

/// <summary><c>@var("name@file.c", "program")</c>: global and file-local variables of programs, in any event of their processes.</summary>
internal static class UserVariables
{
    /// <summary>The file a script names: a path, a program in <c>$PATH</c>, a library.</summary>
    public static UserFile? Open(Target target, string place)
    {
        if (!target.IsLive || place.Length == 0 || place.StartsWith("kernel", StringComparison.Ordinal))
        {
            return null;
        }

        if (place.Contains('/'))
        {
            return Programs.RealPath(Path.GetFullPath(place)) is { } real ? target.UserFiles.Open(real) : null;
        }

        foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            if (Path.Combine(folder, place) is var path && File.Exists(path) && Programs.RealPath(path) is { } real)
            {
                return target.UserFiles.Open(real);
            }
        }

        foreach (var path in Libraries.Search(place, null))
        {
            return Programs.RealPath(path) is { } real ? target.UserFiles.Open(real) : null;
        }

        return null;
    }

    /// <summary>The variable; null with a message when it cannot be had.</summary>
    public static TypedValue? Find(Target target, string name, string? module, UserContext? context, SourceSpan span, out string? message, out string? hint)
    {
        message = hint = null;
        var at = name.IndexOf('@');
        var (plain, file) = at < 0 ? (name, null) : (name[..at], name[(at + 1)..]);
        var isKernel = module is null ? context is null : module.StartsWith("kernel", StringComparison.Ordinal);
        var ofModule = !isKernel && module is not null && target.KernelFunctions.Modules(module) is [var only] ? only : null;
        var kernel = isKernel || ofModule is not null ? target.KernelFile(ofModule) : null;
        if ((isKernel || ofModule is not null) && kernel?.Dwarf is null)
        {
            message = $"variable '{plain}' of {(ofModule is null ? "the kernel" : $"module '{ofModule}'")} cannot be found: its type and place are known to debug information only";
            hint = KernelCode.Missing(target, ofModule) + "; without it, read memory at an address of /proc/kallsyms: @cast(0xADDRESS, \"TYPE\")";
            return null;
        }

        var user = kernel ?? (module is null ? context!.File : Open(target, module));
        if (user is null)
        {
            message = $"variable '{plain}' of '{module}' cannot be found: '{module}' is no program or library";
            hint = "give a path";
            return null;
        }

        if (user.Dwarf is not { } dwarf)
        {
            message = $"variable '{plain}' cannot be found: {DebugInfo.Missing(user)}";
            return null;
        }

        var here = context is not null && ReferenceEquals(context.File, user) ? context : null;
        Expr? Loaded(ulong address, SourceSpan s) => here is not null ? here.Loaded(address, s) : UserContext.Loaded(target, user, address, s);
        Unreadable? problem = null;
        foreach (var variable in dwarf.Globals(plain, here?.Unit, file))
        {
            var site = new LocationSite
            {
                Architecture = user.IsUser ? target.Architecture.Of(user.Elf) : target.Architecture,
                Loaded = Loaded,
                IsUser = user.IsUser,
                FrameBase = static () => [],
                CanonicalFrame = static () => [],
                ThreadLocal = (offset, s) => UserContext.ThreadLocal(target, user, Loaded, offset, s),
                ThreadLocalProblem = UserContext.ThreadLocalProblem(user),
                ReadsVectors = false,
                HasRegisters = false,
                IsEntry = false,
            };
            var location = new LocationLowering(site, span);
            if (location.Run(dwarf.Location(variable, 0)) is not { } result)
            {
                problem ??= location.Problem;
                continue;
            }

            if (dwarf.TypeOf(variable) is { } type && UserContext.Typed(result, type, user.IsUser, span, out var why) is { } value)
            {
                return value;
            }
            else
            {
                problem ??= "its type cannot be read";
            }
        }

        if (problem is not null)
        {
            message = $"variable '{plain}' of \"{user.Path}\" cannot be read: {problem}";
            hint = !user.IsUser || user.Elf.IsProgram ? null : "read a library's variables at the entry of its functions";
            return null;
        }

        message = $"no variable '{plain}'{(file is null ? "" : $" of source file \"{file}\"")} in \"{user.Path}\"";
        hint = Names.Hint(Names.Similar(plain, dwarf.GlobalNames));
        return null;
    }
}
