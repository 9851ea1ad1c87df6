namespace SystemTap.Runtime.Host;

/// <summary>Abbreviation of the local time zone (<c>CET</c>), which .NET does not know: it has long names only.</summary>
/// <remarks>
/// TZ, or the last line of a zone file (TZif version 2, RFC 9636), is a POSIX rule: <c>CET-1CEST,M3.5.0,M10.5.0/3</c> or <c>&lt;+0330&gt;-3:30</c>.
/// </remarks>
public static class LocalZone
{
    /// <summary>The abbreviation in force now; "UTC" when nothing says otherwise.</summary>
    public static string Abbreviation()
    {
        var tz = Environment.GetEnvironmentVariable("TZ");
        var rule = string.IsNullOrEmpty(tz) ? OfFile("/etc/localtime")
            : OfFile(tz.StartsWith(':') ? Path.Combine("/usr/share/zoneinfo", tz[1..]) : Path.Combine("/usr/share/zoneinfo", tz)) ?? tz;
        return rule is null ? "UTC" : OfRule(rule, TimeZoneInfo.Local.IsDaylightSavingTime(DateTime.UtcNow));
    }

    /// <summary>The standard or, if the rule has one, the daylight abbreviation of a POSIX rule.</summary>
    public static string OfRule(string rule, bool daylight)
    {
        var rest = rule.AsSpan();
        var standard = Name(ref rest);
        rest = rest.TrimStart("+-0123456789:");
        var summer = Name(ref rest);
        return daylight && summer.Length > 0 ? summer : standard.Length > 0 ? standard : "UTC";
    }

    private static string Name(ref ReadOnlySpan<char> rest)
    {
        var quoted = rest.StartsWith("<");
        var length = quoted ? rest.IndexOf('>') : 0;
        if (!quoted)
        {
            while (length < rest.Length && char.IsAsciiLetter(rest[length]))
            {
                length++;
            }
        }

        if (length <= 0)
        {
            return "";
        }

        var name = rest[(quoted ? 1 : 0)..length].ToString();
        rest = rest[(quoted ? length + 1 : length)..];
        return name;
    }

    private static string? OfFile(string path)
    {
        try
        {
            var bytes = File.ReadAllBytes(path);
            if (!bytes.AsSpan().StartsWith("TZif"u8) || bytes[^1] != '\n')
            {
                return null;
            }

            var start = bytes.AsSpan(0, bytes.Length - 1).LastIndexOf((byte)'\n') + 1;
            return start == bytes.Length - 1 ? null : System.Text.Encoding.ASCII.GetString(bytes, start, bytes.Length - 1 - start);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }
}
