using SystemTap.Language.Syntax;
using SystemTap.Language.Text;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// Statements.
internal sealed partial class BodyEmitter
{
    private readonly Stack<string?> _continues = new();

    private void Statement(Stmt statement)
    {
        switch (statement)
        {
            case BlockStmt s:
                foreach (var inner in s.Statements)
                {
                    Statement(inner);
                }

                return;
            case LoopStmt s:
                Comment(s.Span);
                Loop(s);
                return;
            case ForeachStmt { OverBuckets: true } s:
                Comment(s.Span);
                Spend(s.Span);
                Buckets(s);
                return;
            case ForeachStmt s:
                Comment(s.Span);
                Spend(s.Span);
                Foreach(s);
                return;
            case TryStmt s:
                Try(s);
                return;
        }

        if (statement is LockStmt)
        {
            _w.Line("if (STAP_UNLIKELY(!stap_lock(c)))");
            _w.Line($"\tgoto {Out()};");
            return;
        }

        // Arrays and structures get a scope of their own, so that the compiler can use their place on the (small) stack again.
        Comment(statement.Span);
        Spend(statement.Span);
        var (start, outer) = (_w.Length, _declares);
        _declares = false;
        Simple(statement);
        if (_declares)
        {
            _w.Enclose(start);
        }

        _declares = outer;
    }

    private void Simple(Stmt statement)
    {
        switch (statement)
        {
            case ExprStmt s:
                Dropped(s.Expression);
                break;
            case IfStmt s:
                If(s);
                return;
            case BreakStmt:
                _w.Line("break;");
                return;
            case ContinueStmt:
                _w.Line(_continues.Peek() is { } label ? $"goto {label};" : "continue;");
                return;
            case NextStmt:
                if (_function is not null)
                {
                    _w.Line("c->next = 1;");
                }

                _w.Line($"goto {Out()};");
                return;
            case ReturnStmt s:
                Return(s);
                return;
            case DeleteStmt s:
                Delete(s);
                break;
            case StatAddStmt s:
                AddSample(s);
                break;
            case PrintStmt s:
                Print(s);
                break;
            default:
                throw new InvalidOperationException("unknown statement " + statement.GetType().Name);
        }

        DropText();
    }

    // Counts a statement against MAXACTION.
    private void Spend(SourceSpan span)
    {
        if (_counted)
        {
            _w.Line($"STAP_SPEND(c, {P(span)}, {FailLabel()});");
        }
    }

    private void If(IfStmt s)
    {
        var condition = Value(s.Condition);
        DropText();
        _w.Open($"if ({Bare(condition.Code)})");
        Statement(s.Then);
        if (s.Else is not null)
        {
            _w.Close(" else {");
            _w.Indent++;
            Statement(s.Else);
        }

        _w.Close();
    }

    // Parts of the text that are in any case in brackets need none of their own.
    private static string Bare(string code)
    {
        if (code.Length < 2 || code[0] != '(' || code[^1] != ')')
        {
            return code;
        }

        var depth = 0;
        for (var i = 0; i < code.Length - 1; i++)
        {
            depth += code[i] switch { '(' => 1, ')' => -1, '"' => int.MinValue / 2, _ => 0 };
            if (depth <= 0)
            {
                return code;
            }
        }

        return code[1..^1];
    }

    private void Loop(LoopStmt s)
    {
        _w.Open("for (;;)");
        Spend(s.Span);
        if (s.Condition is not null)
        {
            var condition = Value(s.Condition);
            DropText();
            if (condition.Code != "1LL")
            {
                _w.Line($"if (!({Bare(condition.Code)}))");
                _w.Line("\tbreak;");
            }
        }

        var label = s.Step is null ? null : Fresh("next_");
        _continues.Push(label);
        Statement(s.Body);
        _continues.Pop();
        if (s.Step is not null)
        {
            if (Mentions.Continue(s.Body))
            {
                _w.Label(label!);
                _w.Line(";");
            }

            Dropped(s.Step);
            DropText();
        }

        _w.Close();
    }

    private void Return(ReturnStmt s)
    {
        if (s.Value is not null)
        {
            var value = Value(s.Value);
            if (_function is { ReturnType: not ScriptType.Void })
            {
                _w.Line($"result = {Bare(value.Code)};");
            }
        }
        else if (_function is { ReturnType: ScriptType.String })
        {
            _w.Line("result = STAP_EMPTY;");
        }
        else if (_function is { ReturnType: ScriptType.Long })
        {
            _w.Line("result = 0;");
        }

        _textSinceDrop = false;
        _w.Line($"goto {Out()};");
    }

    private void Try(TryStmt s)
    {
        var number = C.Int(++_number);
        var (failed, used) = (_failed, _failedUsed);
        var (caught, after) = ("catch_" + number, "caught_" + number);
        Comment(s.Span);
        _w.Open();
        _w.Line($"const u32 depth_{number} = c->depth;");
        _w.Line($"struct stap_rank_list *orders_{number} = c->orders;");
        _w.Line();
        (_failed, _failedUsed) = (caught, false);
        var textBefore = _textSinceDrop;
        Statement(s.Body);
        var canFail = _failedUsed;
        (_failed, _failedUsed) = (failed, used);
        if (canFail)
        {
            _w.Line($"goto {after};");
            _w.Label(caught);
            _w.Line("if (c->failed != STAP_FAILED)");
            _w.Line($"\tgoto {FailLabel()};");
            _w.Line("c->failed = STAP_FINE;");
            _w.Line($"c->depth = depth_{number};");
            _w.Line($"stap_sorted_done(c, orders_{number});");
            if (s.Message is { } message)
            {
                _w.Line($"stap_set({LocalName(message)}, stap_view(c->error));");
            }

            if (_usedText)
            {
                UsesText();
                DropText();
            }

            Statement(s.Handler);
            _w.Label(after);
            _w.Line(";");
        }

        _textSinceDrop |= textBefore;
        _w.Close();
    }

    private static class Mentions
    {
        /// <summary>The body says <c>continue</c> for its own loop.</summary>
        public static bool Continue(Stmt? statement) => statement switch
        {
            ContinueStmt => true,
            BlockStmt s => s.Statements.Any(Continue),
            IfStmt s => Continue(s.Then) || Continue(s.Else),
            TryStmt s => Continue(s.Body) || Continue(s.Handler),
            _ => false,
        };
    }

    private void Delete(DeleteStmt s)
    {
        var name = _context.Name(s.Global);
        if (s.Keys is { } keys)
        {
            var (key, given) = Key(s.Global, keys);
            _w.Line(given == FullMask(s.Global)
                ? $"stap_delete(&{name}, {key});"
                : $"stap_delete_matching(&{name}, {key}, 0x{given:x});");
        }
        else
        {
            _w.Line(s.Global.IsArray ? $"stap_clear(&{name});"
                : s.Global.Type == ScriptType.Statistics ? $"stap_clear_stats(&{name});"
                : s.Global.Type == ScriptType.String ? $"{name}.buf.n = 0;"
                : _context.Locks.Of(s.Global) == Access.Atomic ? $"stap_store(&{name}, 0);"
                : $"{name} = 0;");
        }
    }

    // --- loops over arrays and histograms

    private void Foreach(ForeachStmt s)
    {
        var name = _context.Name(s.Array);
        var number = C.Int(++_number);
        _w.Open();
        var key = "NULL";
        uint given = 0;
        if (s.Slice is not null)
        {
            (key, given) = Key(s.Array, s.Slice, keep: true);
        }

        var sorted = s.Direction != SortDirection.None;
        var limit = s.Limit is null ? null : Value(s.Limit).Code;
        var outer = EnterScope(number);
        if (sorted)
        {
            _sorts = true;
            // A loop that leads to itself is under way once for each level of the recursion.
            var most = _function is { IsRecursive: true } && LoweredSearch.Calls(s.Body, MayRecurse) ? _context.Facts.MaxNesting + 1 : 1;
            _context.Sorts[s.Array] = _context.Sorts.GetValueOrDefault(s.Array) + most;
            _w.Line($"struct stap_rank_list *list_{number} = stap_sorted(c, &{name}, {key}, 0x{given:x}, {s.SortKey}, {(s.Direction == SortDirection.Descending ? "STAP_DESCENDING" : "STAP_ASCENDING")}, {Statistic(s.SortStatistic)}, {limit ?? name + ".capacity"});");
            _w.Line($"u32 at_{number};");
            FailIf($"!list_{number}", $"stap_fail(c, {P(s.Span)}, \"too many sorted loops over {C.Comment(s.Array.Name)} at once\");");
            _w.Open($"for (at_{number} = 0; at_{number} < list_{number}->count; at_{number}++)");
            _w.Line($"const u32 entry_{number} = list_{number}->rank[at_{number}].entry;");
        }
        else
        {
            if (limit is not null)
            {
                _w.Line($"s64 left_{number} = {Bare(limit)};");
            }

            _w.Line($"u32 entry_{number} = 0;");
            _w.Line();
            _w.Open($"while ((entry_{number} = stap_next_entry(&{name}, entry_{number})))");
            if (given != 0)
            {
                _w.Line($"if (!stap_entry_matches(&{name}, entry_{number}, {key}, 0x{given:x}))");
                _w.Line("\tcontinue;");
            }

            if (limit is not null)
            {
                _w.Line($"if (left_{number}-- <= 0)");
                _w.Line("\tbreak;");
            }
        }

        Spend(s.Span);
        for (var i = 0; i < s.Keys.Count; i++)
        {
            var local = LocalName(s.Keys[i]);
            _w.Line(s.Keys[i].Type == ScriptType.String
                ? $"stap_set({local}, stap_entry_key_text(&{name}, entry_{number}, {i}));"
                : $"{local} = stap_entry_key(&{name}, entry_{number}, {i});");
        }

        if (s.Value is { } value)
        {
            _w.Line(value.Type == ScriptType.String
                ? $"stap_set({LocalName(value)}, stap_entry_text(&{name}, entry_{number}));"
                : $"{LocalName(value)} = stap_entry_long(&{name}, entry_{number});");
        }

        _continues.Push(null);
        Statement(s.Body);
        _continues.Pop();
        _w.Close();
        if (sorted)
        {
            _w.Line($"stap_sorted_done(c, list_{number}->below);");
        }

        LeaveScope(outer);
        _w.Close();
    }

    private void Buckets(ForeachStmt s)
    {
        var number = C.Int(++_number);
        _w.Open();
        var limit = s.Limit is null ? null : Value(s.Limit).Code;
        if (limit is not null)
        {
            _w.Line($"const s64 limit_{number} = {Bare(limit)};");
            _w.Open($"if (limit_{number} > 0)");
        }

        var stat = ReadStat(s.Array, s.BucketKeys, withBuckets: true);
        FailIf($"!{stat}.count", $"stap_fail(c, {P(s.Span)}, \"empty aggregate\");");
        UsesText();
        _w.Line($"const u16 *order_{number} = stap_bucket_order(c, {Shape(s.Array)}, &{stat}, {(s.SortKey != 0 ? 1 : 0)}, {(s.Direction == SortDirection.Descending ? 1 : 0)});");
        _w.Line($"u32 at_{number};");
        CheckFailed();
        var outer = EnterScope(number);
        var count = C.Int(s.Array.Shape!.BucketCount);

        // Unsorted: by number, which is the order made with by_number and ascending; the run-time is told so below.
        _w.Open(limit is null ? $"for (at_{number} = 0; at_{number} < {count}; at_{number}++)" : $"for (at_{number} = 0; at_{number} < {count} && at_{number} < limit_{number}; at_{number}++)");
        Spend(s.Span);
        var bucket = s.Direction == SortDirection.None ? $"at_{number}" : $"order_{number}[at_{number}]";
        _w.Line($"{LocalName(s.Keys[0])} = {bucket};");
        if (s.Value is { } value)
        {
            _w.Line($"{LocalName(value)} = {stat}.bucket[{bucket}];");
        }

        _continues.Push(null);
        Statement(s.Body);
        _continues.Pop();
        _w.Close();
        LeaveScope(outer);
        if (limit is not null)
        {
            _w.Close();
        }

        _w.Close();
    }

    // A loop whose own intermediate strings must outlive the statements in it: those give back text space down to here.
    private (string Base, bool Since, int Declared, bool Used) EnterScope(string number)
    {
        var outer = (_base, _textSinceDrop, _baseDeclared, _baseUsed);
        _base = "base_" + number;
        _baseDeclared = _w.Length;
        _baseUsed = _textSinceDrop = false;
        return outer;
    }

    private void LeaveScope((string Base, bool Since, int Declared, bool Used) outer)
    {
        if (_baseUsed)
        {
            _w.InsertAt(_baseDeclared, new string('\t', _w.Indent) + $"const u32 {_base} = c->text_used;\n");
        }

        (_base, _baseDeclared, _baseUsed) = (outer.Base, outer.Declared, outer.Used);
        _textSinceDrop |= outer.Since;
        DropText();
    }

    /// <summary>Whether a call leads to a function that calls itself.</summary>
    private static bool MayRecurse(Function? function) => function is not null && (function.IsRecursive || MayRecurse(function.NextOverload));
}
