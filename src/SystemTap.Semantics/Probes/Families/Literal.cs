using System.Globalization;
using SystemTap.Language.Syntax;
using SystemTap.Language.Text;

namespace SystemTap.Semantics.Probes.Families;

/// <summary>Copies of probe points with one argument replaced by what a family's glob found.</summary>
internal static class Literal
{
    public static ProbePoint WithText(ProbePoint point, int component, string text)
    {
        var components = new ProbeComponent[point.Components.Count];
        for (var i = 0; i < components.Length; i++)
        {
            components[i] = point.Components[i];
        }

        var old = components[component];
        var span = old.Argument?.Span ?? old.Span;
        components[component] = new ProbeComponent(old.Span, old.Name, new StringLiteral(span, text));
        return new ProbePoint(point.Span, components, point.IsOptional, point.IsSufficient, point.Condition);
    }

    /// <summary>The point as it is shown when its argument is an address: in hexadecimal, however it was written.</summary>
    public static string TextWithAddress(ProbePoint point, int component) => point.Components[component] is { Argument: NumberLiteral { Value: var address }, Name: var name }
        ? point.ToString().Replace($"{name}({address.ToString(CultureInfo.InvariantCulture)})", $"{name}(0x{address:x})", StringComparison.Ordinal)
        : point.ToString();

    /// <summary>The point with component <paramref name="index"/> removed (0-based).</summary>
    public static ProbePoint Without(ProbePoint point, int index)
    {
        var components = new List<ProbeComponent>(point.Components);
        components.RemoveAt(index);
        return new ProbePoint(point.Span, components, point.IsOptional, point.IsSufficient, point.Condition);
    }

    /// <summary>The first components of the point, and its last one if asked for.</summary>
    public static ProbePoint Before(ProbePoint point, int count, bool withLast) =>
        new(point.Span, [.. point.Components.Take(count), .. withLast ? [point.Components[^1]] : Array.Empty<ProbeComponent>()], point.IsOptional, point.IsSufficient, point.Condition);

    public static SourceSpan ArgumentSpan(ProbePoint point, int component) =>
        point.Components[component].Argument?.Span ?? point.Components[component].Span;
}
