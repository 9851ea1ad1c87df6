using System.Globalization;
using SystemTap.Language.Diagnostics;
using SystemTap.Language.Lexing;

namespace SystemTap.Language.Preprocessing;

/// <summary>
/// Evaluates the condition of one <c>%( … %?</c>: <c>a OP b</c> terms joined by <c>&amp;&amp;</c> and <c>||</c>, without parentheses.
/// Every term is checked, also where the result is already known.
/// </summary>
internal sealed class ConditionEvaluator(List<Token> tokens, Token open, PreprocessorEnvironment environment)
{
    private const string Operands = "'kernel_v', 'kernel_vr', 'systemtap_v', 'arch', 'runtime', 'systemtap_privilege', 'guru_mode', 'CONFIG_...', a string or a number";

    private static readonly string[] OperandNames = ["kernel_v", "kernel_vr", "systemtap_v", "arch", "runtime", "systemtap_privilege", "guru_mode"];

    private int _pos;

    public string ErrorCode { get; private set; } = "";

    public string ErrorMessage { get; private set; } = "";

    public string? Hint { get; private set; }

    public Token ErrorToken { get; private set; }

    /// <summary>The value, or null after an error.</summary>
    public bool? Evaluate()
    {
        var any = false;
        var all = true;
        while (true)
        {
            if (Term() is not { } value)
            {
                return null;
            }

            all &= value;
            if (_pos == tokens.Count)
            {
                return any | all;
            }

            var joint = tokens[_pos++];
            if (joint.Kind == TokenKind.OrOr)
            {
                any |= all;
                all = true;
            }
            else if (joint.Kind != TokenKind.AndAnd)
            {
                return Fail(joint, "parse.condition-operator", "expected '&&', '||' or '%?' in the condition");
            }
        }
    }

    private bool? Term()
    {
        if (!Take(out var left))
        {
            return null;
        }

        var negativeLeft = left.Kind == TokenKind.Minus;
        if (negativeLeft && !Take(out left))
        {
            return null;
        }

        if (_pos >= tokens.Count || !IsComparison(tokens[_pos].Kind))
        {
            // A wrong operand is the better message than a missing operator.
            return left.Kind is TokenKind.Identifier or TokenKind.String or TokenKind.Number && IsOperand(left)
                ? Fail(_pos < tokens.Count ? tokens[_pos] : open, "parse.condition-operator", "expected a comparison operator in the condition")
                : UnknownOperand(left);
        }

        var op = tokens[_pos++];
        if (!Take(out var right))
        {
            return null;
        }

        var negativeRight = right.Kind == TokenKind.Minus;
        if (negativeRight && !Take(out right))
        {
            return null;
        }

        if ((negativeLeft && left.Kind != TokenKind.Number) || (negativeRight && right.Kind != TokenKind.Number))
        {
            return Fail(negativeLeft ? left : right, "parse.condition-operand", "expected a number behind '-' in the condition");
        }

        switch (left.Kind)
        {
            case TokenKind.Number when right.Kind == TokenKind.Number:
                return Ordered(op.Kind, (negativeLeft ? unchecked(-left.Value) : left.Value).CompareTo(negativeRight ? unchecked(-right.Value) : right.Value));
            case TokenKind.String when right.Kind == TokenKind.String:
                return Ordered(op.Kind, string.CompareOrdinal(left.Text, right.Text));
            case TokenKind.Number or TokenKind.String:
                return Fail(right, "parse.condition-operand", left.Kind == TokenKind.Number ? "expected a number to compare with a number" : "expected a string to compare with a string");
            case TokenKind.Identifier:
                return Named(left, op, right, negativeRight);
            default:
                return UnknownOperand(left);
        }
    }

    private bool? Named(in Token left, in Token op, in Token right, bool negativeRight)
    {
        var name = left.Text!;
        switch (name)
        {
            case "kernel_v":
                return Version(environment.KernelVersion, op, right, name);
            case "kernel_vr":
                return Version(environment.KernelRelease, op, right, name);
            case "systemtap_v":
                environment.VersionDependent?.Invoke(left.Span, "this condition depends on the version of the language");
                return Version(environment.CompatibleVersion ?? LanguageVersion.Current, op, right, name);
            case "arch":
                return Text(environment.Architecture, op, right, name);
            case "runtime":
                return Text(environment.Runtime, op, right, name);
            case "systemtap_privilege":
                if (right.Kind == TokenKind.String && right.Text is not ("stapusr" or "stapsys" or "stapdev"))
                {
                    return Fail(right, "parse.condition-operand", "expected \"stapusr\", \"stapsys\" or \"stapdev\" to compare with 'systemtap_privilege'");
                }

                return Text(environment.Privilege, op, right, name);
            case "guru_mode":
                if (right.Kind != TokenKind.Number || negativeRight || right.Value is not (0 or 1))
                {
                    return Fail(right, "parse.condition-operand", "expected 0 or 1 to compare with 'guru_mode'");
                }

                return EqualityOnly(op, name) ? (op.Kind == TokenKind.Equal) == (environment.GuruMode == (right.Value == 1)) : null;
        }

        return name.StartsWith("CONFIG_", StringComparison.Ordinal) ? Config(left, op, right, negativeRight) : UnknownOperand(left);
    }

    private bool? Version(string value, in Token op, in Token right, string name)
    {
        if (right.Kind != TokenKind.String)
        {
            return Fail(right, "parse.condition-operand", $"expected a string to compare with '{name}'");
        }

        if (op.Kind is TokenKind.Equal or TokenKind.NotEqual && Glob.IsPattern(right.Text))
        {
            return (op.Kind == TokenKind.Equal) == Glob.Matches(right.Text, value);
        }

        return Ordered(op.Kind, LanguageVersion.Compare(value, right.Text));
    }

    private bool? Text(string value, in Token op, in Token right, string name)
    {
        if (!EqualityOnly(op, name))
        {
            return null;
        }

        return right.Kind == TokenKind.String
            ? (op.Kind == TokenKind.Equal) == Glob.Matches(right.Text, value)
            : Fail(right, "parse.condition-operand", $"expected a string to compare with '{name}'");
    }

    private bool? Config(in Token left, in Token op, in Token right, bool negativeRight)
    {
        var value = environment.ConfigLookup(left.Text!) ?? "";
        switch (right.Kind)
        {
            case TokenKind.String:
                return Text(value, op, right, left.Text!);
            case TokenKind.Number:
                // Unset or not a number: no comparison holds, save "differs".
                return TryNumber(value, out var number)
                    ? Ordered(op.Kind, number.CompareTo(negativeRight ? unchecked(-right.Value) : right.Value))
                    : op.Kind == TokenKind.NotEqual;
            case TokenKind.Identifier when right.Text!.StartsWith("CONFIG_", StringComparison.Ordinal):
                var other = environment.ConfigLookup(right.Text) ?? "";
                return Ordered(op.Kind, TryNumber(value, out var a) && TryNumber(other, out var b) ? a.CompareTo(b) : string.CompareOrdinal(value, other));
            default:
                return Fail(right, "parse.condition-operand", $"expected a string, a number or another 'CONFIG_...' to compare with '{left.Text}'");
        }
    }

    private static bool TryNumber(string text, out long number)
    {
        number = 0;
        var negative = text.StartsWith('-');
        var digits = text.AsSpan(negative ? 1 : 0);
        if (digits.IsEmpty || Lexer.ParseNumber(digits, out var value) != JunkReason.None)
        {
            return false;
        }

        number = unchecked(negative ? -(long)value : (long)value);
        return true;
    }

    private bool EqualityOnly(in Token op, string name)
    {
        if (op.Kind is TokenKind.Equal or TokenKind.NotEqual)
        {
            return true;
        }

        Fail(op, "parse.condition-operator", $"expected '==' or '!=' to compare with '{name}'");
        return false;
    }

    private static bool Ordered(TokenKind op, int comparison) => op switch
    {
        TokenKind.Less => comparison < 0,
        TokenKind.LessEqual => comparison <= 0,
        TokenKind.Equal => comparison == 0,
        TokenKind.NotEqual => comparison != 0,
        TokenKind.Greater => comparison > 0,
        _ => comparison >= 0,
    };

    private static bool IsComparison(TokenKind kind) =>
        kind is TokenKind.Less or TokenKind.LessEqual or TokenKind.Equal or TokenKind.NotEqual or TokenKind.Greater or TokenKind.GreaterEqual;

    private static bool IsOperand(in Token token) =>
        token.Kind != TokenKind.Identifier || token.Text!.StartsWith("CONFIG_", StringComparison.Ordinal) || Array.IndexOf(OperandNames, token.Text) >= 0;

    private bool? UnknownOperand(in Token token)
    {
        if (token.Kind == TokenKind.Identifier)
        {
            Hint = Suggestions.DidYouMean(token.Text!, OperandNames, 1);
        }

        return Fail(token, "parse.condition-operand", "expected " + Operands + " in the condition");
    }

    private bool Take(out Token token)
    {
        if (_pos < tokens.Count)
        {
            token = tokens[_pos++];
            return true;
        }

        token = open;
        Fail(open, "parse.condition-operand", "expected " + Operands + " in the condition");
        return false;
    }

    private bool? Fail(in Token token, string code, string message)
    {
        ErrorToken = token;
        ErrorCode = code;
        ErrorMessage = message;
        return null;
    }
}
