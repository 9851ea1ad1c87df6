namespace SystemTap.Language.Diagnostics;

/// <summary>The colours of diagnostics as SGR parameters (such as <c>01;31</c>); null members are not coloured.</summary>
public sealed class DiagnosticColors
{
    /// <summary>What applies when SYSTEMTAP_COLORS is not set.</summary>
    public const string DefaultSpecification = "error=01;31:warning=00;33:source=00;34:caret=01:token=01";

    public string? Error { get; private set; }

    public string? Warning { get; private set; }

    public string? Source { get; private set; }

    public string? Caret { get; private set; }

    public string? Token { get; private set; }

    /// <summary>Reads a SYSTEMTAP_COLORS value (null: the default). Null, meaning no colours, when it is empty or ill-formed.</summary>
    public static DiagnosticColors? Parse(string? specification)
    {
        specification ??= DefaultSpecification;
        if (specification.Length == 0)
        {
            return null;
        }

        var colors = new DiagnosticColors();
        foreach (var part in specification.Split(':'))
        {
            var equals = part.IndexOf('=');
            if (equals <= 0 || equals + 1 == part.Length || part.AsSpan(equals + 1).ContainsAnyExcept("0123456789;"))
            {
                return null;
            }

            var value = part[(equals + 1)..];
            switch (part[..equals])
            {
                case "error": colors.Error = value; break;
                case "warning": colors.Warning = value; break;
                case "source": colors.Source = value; break;
                case "caret": colors.Caret = value; break;
                case "token": colors.Token = value; break;
                default: return null;
            }
        }

        return colors;
    }
}
