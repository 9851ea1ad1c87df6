using System.Text;
using SystemTap.Language.Lexing;
using SystemTap.Language.Syntax;

namespace SystemTap.Language.Parsing;

// Probes, aliases and probe points.
public sealed partial class Parser
{
    /// <summary>How many points one list may expand to by braces.</summary>
    private const int MaxProbePoints = 10_000;

    private TopLevelNode Probe()
    {
        var start = _pos;
        Advance(); // 'probe'
        var names = new List<ProbePoint>();
        var epilogueStyle = false;
        List<ProbePoint> points;
        while (true)
        {
            points = [];
            var listStart = _pos;
            do
            {
                ProbePointInto(points);
            }
            while (Accept(TokenKind.Comma));

            if (_kind is not (TokenKind.Assign or TokenKind.PlusAssign))
            {
                break;
            }

            if (names.Count > 0 && epilogueStyle != (_kind == TokenKind.PlusAssign))
            {
                Error("parse.alias-mixed", "alias definition mixes '=' and '+='");
            }

            epilogueStyle = _kind == TokenKind.PlusAssign;
            foreach (var name in points)
            {
                if (name.IsOptional || name.Condition is not null)
                {
                    SoftError("parse.alias-name", name.Span, $"alias name '{name}' may not have '?', '!' or 'if'");
                }
            }

            if (points.Count != 1)
            {
                SoftError("parse.alias-name", SpanFrom(listStart), "alias definition has a list of names; write 'probe A = B = POINT' for several names");
            }

            names.AddRange(points);
            Advance();
        }

        if (_kind != TokenKind.LeftBrace)
        {
            Error("parse.expected-probe-body", names.Count > 0 ? "expected ',' or '{'" : "expected one of ', = += {'");
        }

        var body = Block("expected '{'");
        if (names.Count == 0)
        {
            return new ProbeDefinition(SpanFrom(start), points, body);
        }

        BlockStatement? epilogue = null;
        if (_kind == TokenKind.Comma)
        {
            if (epilogueStyle)
            {
                Error("parse.alias-epilogue", "alias written with '+=' has a second block; only '=' takes prologue and epilogue");
            }

            Advance();
            epilogue = Block("expected '{'");
        }

        return new AliasDefinition(SpanFrom(start), names, points, epilogueStyle, body, epilogue);
    }

    /// <summary>One probe point with its braces expanded, its mark and its condition.</summary>
    private void ProbePointInto(List<ProbePoint> points)
    {
        var start = _pos;
        var alternatives = ComponentLists();
        var optional = false;
        var sufficient = false;
        Expression? condition = null;
        if (_kind is TokenKind.Question or TokenKind.Bang)
        {
            optional = true;
            sufficient = _kind == TokenKind.Bang;
            Advance();
        }

        if (Accept(TokenKind.If))
        {
            Expect(TokenKind.LeftParen, "expected '('");
            condition = Expression();
            CheckLooseHistogram();
            Expect(TokenKind.RightParen, "expected ')'");
        }

        var span = SpanFrom(start);
        foreach (var components in alternatives)
        {
            // Without braces the point's place is the whole text; with them it is the place of what was chosen.
            points.Add(new ProbePoint(alternatives.Count == 1 ? span : components[0].Span, components, optional, sufficient, condition));
        }
    }

    /// <summary>Components joined by dots: one list for each way through the braces, in the order of the product.</summary>
    private List<List<ProbeComponent>> ComponentLists()
    {
        var lists = new List<List<ProbeComponent>> { new() };
        if (!Enter())
        {
            Leave();
            return [[new ProbeComponent(Current.Span, "", null)]];
        }

        do
        {
            if (_kind == TokenKind.LeftBrace)
            {
                var choices = Braces();
                if ((long)lists.Count * choices.Count > MaxProbePoints)
                {
                    Error("parse.too-many-points", $"probe point expands to more than {MaxProbePoints} points");
                    break;
                }

                var product = new List<List<ProbeComponent>>(lists.Count * choices.Count);
                foreach (var left in lists)
                {
                    foreach (var right in choices)
                    {
                        product.Add([.. left, .. right]);
                    }
                }

                lists = product;
            }
            else
            {
                var component = Component();
                foreach (var list in lists)
                {
                    list.Add(component);
                }
            }
        }
        while (Accept(TokenKind.Dot));

        Leave();
        return lists;
    }

    private List<List<ProbeComponent>> Braces()
    {
        Advance(); // '{'
        var choices = new List<List<ProbeComponent>>();
        do
        {
            choices.AddRange(ComponentLists());
            if (_kind is TokenKind.Question or TokenKind.Bang or TokenKind.If)
            {
                Error("parse.mark-in-braces", "'?', '!' and 'if' stand behind a whole probe point, not inside braces");
            }
        }
        while (Accept(TokenKind.Comma));

        Expect(TokenKind.RightBrace, "expected ',' or '}' in the braces of a probe point");
        return choices;
    }

    private ProbeComponent Component()
    {
        var start = _pos;
        var name = ComponentName();
        LiteralExpression? argument = null;
        if (Accept(TokenKind.LeftParen))
        {
            argument = Literal("expected literal string or number");
            Expect(TokenKind.RightParen, "expected ')'");
        }

        return new ProbeComponent(SpanFrom(start), name, argument);
    }

    /// <summary>Identifiers, keywords, numbers and stars that touch each other.</summary>
    private string ComponentName()
    {
        if (_kind is not (TokenKind.Identifier or TokenKind.Star) && !TokenFacts.IsKeyword(_kind))
        {
            Error("parse.expected-component", "expected probe point component");
            return "";
        }

        var first = Piece(Current);
        Advance();
        if (!Continues())
        {
            return first;
        }

        var name = new StringBuilder(first);
        do
        {
            name.Append(Piece(Current));
            Advance();
        }
        while (Continues());
        return name.ToString();

        static string Piece(in Token token) => token.Kind == TokenKind.Star ? "*" : token.Text ?? TokenFacts.Written(token);

        bool Continues() =>
            (_kind is TokenKind.Identifier or TokenKind.Star or TokenKind.Number || TokenFacts.IsKeyword(_kind)
                || (_kind == TokenKind.Junk && Current.Junk is JunkReason.InvalidNumber or JunkReason.NumberOutOfRange))
            && _tokens[_pos - 1] is var before && ReferenceEquals(before.Source, Current.Source) && before.End == Current.Start
            && ReferenceEquals(before.Use, Current.Use);
    }
}
