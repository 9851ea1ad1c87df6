namespace SystemTap.Targets;

/// <summary>Which file it is, whatever path leads there.</summary>
public readonly record struct FileId(uint Major, uint Minor, ulong Inode);
