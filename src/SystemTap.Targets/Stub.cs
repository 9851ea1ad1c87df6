namespace SystemTap.Targets
{
    public sealed class Target;
}

namespace SystemTap.Targets.Btf
{
    public readonly struct BtfType;
}
