namespace SystemTap.Semantics.Probes;

/// <summary>Reads the short notation in which families write their forms.</summary>
internal static class ProbeForms
{
    /// <summary>
    /// Each text is one form: components joined by dots, <c>(N)</c> behind one that takes a number, <c>(S)</c> behind one that takes a string:
    /// <c>timer.s(N).randomize(N)</c>.
    /// </summary>
    public static IReadOnlyList<IReadOnlyList<ComponentPattern>> Of(params ReadOnlySpan<string> texts)
    {
        var forms = new IReadOnlyList<ComponentPattern>[texts.Length];
        for (var i = 0; i < texts.Length; i++)
        {
            forms[i] = One(texts[i]);
        }

        return forms;
    }

    private static ComponentPattern[] One(ReadOnlySpan<char> text)
    {
        var components = new ComponentPattern[text.Count('.') + 1];
        var n = 0;
        foreach (var range in text.Split('.'))
        {
            var part = text[range];
            var open = part.IndexOf('(');
            components[n++] = open < 0
                ? new ComponentPattern(part.ToString())
                : new ComponentPattern(part[..open].ToString(), part[open + 1] == 'N' ? ComponentArgument.Number : ComponentArgument.String);
        }

        return components;
    }
}
