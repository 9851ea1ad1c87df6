namespace SystemTap.Targets;

/// <summary>
/// Something the session needs to know about the machine cannot be known: a file is absent, unreadable or malformed.
/// The message is for people: subject first, names in quotes, the cause, then what to do.
/// </summary>
public sealed class TargetException : Exception
{
    public TargetException(string message) : base(message) { }
    public TargetException(string message, Exception cause) : base(message, cause) { }
}
