using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.Runtime.Host.Nodes;

/// <summary>A function made executable once, shared by its calls. The body comes later, since functions may call each other in a ring.</summary>
internal sealed class CompiledFunction(Function function)
{
    public readonly Function Function = function;
    public readonly int LocalCount = function.Locals.Count;
    public Act? Body;
    public CompiledFunction? NextOverload;
}

internal sealed class CallNode(CompiledFunction target, Node[] arguments, SourceSpan span) : Node(span)
{
    public override long Long(Machine m)
    {
        Call(m);
        return m.ReturnLong;
    }

    public override string Text(Machine m)
    {
        Call(m);
        return m.ReturnText;
    }

    private void Call(Machine m)
    {
        // The slots are taken first, so that calls among the arguments use those above.
        var first = m.Reserve(target.LocalCount);
        var locals = target.Function.Locals;
        for (var i = 0; i < arguments.Length; i++)
        {
            if (locals[i].Type == ScriptType.String)
            {
                var text = m.Cut(Span, arguments[i].Text(m));
                m.Texts[first + i] = text;
            }
            else
            {
                var value = arguments[i].Long(m);
                m.Longs[first + i] = value;
            }
        }

        if (m.Depth == m.Callers.Length)
        {
            Array.Resize(ref m.Callers, m.Depth * 2);
        }

        m.Callers[m.Depth++] = Span;
        if (m.Depth > m.MaxNesting)
        {
            throw new RuntimeError("MAXNESTING exceeded", Span);
        }

        var callerBase = m.Base;
        var current = target;
        var firstText = 0;
        string[]? saved = null;
        long[]? savedLongs = null;
        if (target.NextOverload is not null)
        {
            // `next` tries another candidate with the same arguments, and the body may have assigned to them.
            firstText = arguments.Length;
            saved = m.Texts.AsSpan(first, firstText).ToArray();
            savedLongs = m.Longs.AsSpan(first, firstText).ToArray();
        }

        while (true)
        {
            m.Longs.AsSpan(first + arguments.Length, current.LocalCount - arguments.Length).Clear();
            m.Texts.AsSpan(first + arguments.Length, current.LocalCount - arguments.Length).Fill("");
            m.ReturnLong = 0;
            m.ReturnText = "";
            m.Base = first;
            var flow = current.Body!.Run(m);
            if (flow == Flow.Next)
            {
                if (current.NextOverload is not { } next)
                {
                    // The call itself failed: it is no caller of the place.
                    m.Depth--;
                    throw new RuntimeError("all functions exhausted", Span);
                }

                saved!.CopyTo(m.Texts, first);
                savedLongs!.CopyTo(m.Longs, first);
                m.Top = first;
                m.Reserve(next.LocalCount);
                current = next;
                continue;
            }

            if (flow != Flow.Return)
            {
                m.ReturnLong = 0;
                m.ReturnText = "";
            }

            break;
        }

        m.Base = callerBase;
        m.Top = first;
        m.Depth--;
    }
}
