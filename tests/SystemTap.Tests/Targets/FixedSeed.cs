using CsCheck;

namespace SystemTap.Tests.Targets;

internal static class FixedSeed
{
    /// <summary>
    /// Runs an action on generated values, the same ones each time. (CsCheck's own Sample takes a seed for its first
    /// value only and goes on with random ones.) A failure names the iteration.
    /// </summary>
    public static void Each<T>(this Gen<T> generator, int iterations, Action<T> action)
    {
        var random = new PCG(1, 20261123);
        for (var i = 0; i < iterations; i++)
        {
            var value = generator.Generate(random, null, out _);
            try
            {
                action(value);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"iteration {i}: {e.Message}", e);
            }
        }
    }
}
