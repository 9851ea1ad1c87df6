using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Semantics.Probes;

/// <summary>One alias body on the way from the script's point to the event.</summary>
/// <param name="Alias">The definition.</param>
/// <param name="Prologue">Runs before the user's handler, or null.</param>
/// <param name="Epilogue">Runs after it, or null.</param>
/// <param name="Use">The point that named the alias.</param>
public sealed record AliasStep(AliasDefinition Alias, BlockStatement? Prologue, BlockStatement? Epilogue, SourceSpan Use);

/// <summary>
/// A script's probe point after alias and wildcard expansion: one event. The handler that results is: all conditions ANDed, then
/// prologues innermost alias first (the one nearest the event), the user's body, epilogues outermost first; locals shared by all of them.
/// </summary>
/// <param name="Point">The event and its context variables.</param>
/// <param name="Name">The point as the script spells it with wildcards replaced (<c>pn()</c>).</param>
/// <param name="Aliases">Outermost (the one the script names) first; empty for a native point.</param>
/// <param name="Conditions">Conditions of the user's point and of every alias point passed, outermost first.</param>
public sealed record ExpandedProbe(ResolvedPoint Point, string Name, IReadOnlyList<AliasStep> Aliases, IReadOnlyList<Expression> Conditions);
