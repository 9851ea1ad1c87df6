using SystemTap.Semantics.Lowered;
using SystemTap.Targets;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>
/// <c>kernel.lsm("HOOK")</c>: a security hook (<c>bpf_lsm_HOOK</c>), with the hook's parameters. Needs CONFIG_BPF_LSM and "bpf" among the active security modules. The
/// probe only watches: what the hook decides is left to the others.
/// </summary>
public sealed class LsmFamily : ProbeFamily
{
    /// <inheritdoc/>
    public override IReadOnlyList<IReadOnlyList<ComponentPattern>> Forms { get; } = ProbeForms.Of("kernel.lsm(S)");

    /// <inheritdoc/>
    public override Privilege Privilege => Privilege.Developer;

    /// <inheritdoc/>
    public override string ArgumentNoun => "security hook";

    /// <inheritdoc/>
    public override void Resolve(ProbeMatch match, ResolveScope scope, List<ResolvedPoint> results)
    {
        if (scope.Target.KernelBtfOrNull is not { } btf)
        {
            return;
        }

        var pattern = match.Text(1);
        var isGlob = Globs.IsPattern(pattern);
        foreach (var function in isGlob ? btf.MatchFunctions(Prefix + pattern) : btf.FindFunction(Prefix + pattern) is { } one ? [one] : [])
        {
            var name = function.Name[Prefix.Length..];
            if (Array.IndexOf(Deciding, name) >= 0)
            {
                if (!isGlob)
                {
                    scope.Diagnostics.Error("probe.lsm-decides", match.Point.Components[1].Span,
                        $"security hook \"{name}\" cannot be watched: a program on it always decides, because the hook's neutral answer is not 0", "probe the kernel function \"security_" + name + "\"");
                }

                continue;
            }

            var spec = new KernelFunctionSpec(function.Name, null, 0, false) { Kind = KernelAttachKind.Lsm, BtfFunction = function.Id };
            results.Add(new ResolvedPoint(spec, Literal.WithText(match.Point, 1, name).ToString(), new KernelFunctionContext(function, scope.Target.Architecture, null, static () => null)));
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<string> Candidates(ProbeMatch match, ResolveScope scope)
    {
        if (scope.Target.KernelBtfOrNull is not { } btf)
        {
            yield break;
        }

        foreach (var function in btf.MatchFunctions(Prefix + "*"))
        {
            yield return function.Name[Prefix.Length..];
        }
    }

    private const string Prefix = "bpf_lsm_";

    /// <summary>Hooks whose default answer is an error or 1 (lsm_hook_defs.h): a program that answers 0 would change what the system does.</summary>
    private static readonly string[] Deciding =
    [
        "sb_set_mnt_opts", "fs_context_parse_param", "dentry_init_security", "inode_init_security", "inode_getsecurity", "inode_setsecurity", "inode_copy_up_xattr", "task_prctl",
        "getprocattr", "setprocattr", "getselfattr", "setselfattr", "secid_to_secctx", "lsmprop_to_secctx", "socket_getpeersec_stream", "socket_getpeersec_dgram", "xfrm_state_pol_flow_match",
    ];
}
