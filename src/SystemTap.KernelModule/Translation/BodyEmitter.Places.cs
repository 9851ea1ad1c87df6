using SystemTap.Language.Syntax;
using SystemTap.Semantics.Lowered;

namespace SystemTap.KernelModule.Translation;

// Variables, globals, array elements: reading, assigning, updating.
internal sealed partial class BodyEmitter
{
    private string LocalName(Local local) => _localNames[local.Index];

    private string View(Local local) => _isView[local.Index] ? LocalName(local) : $"stap_view({LocalName(local)})";

    private Operand Read(ReadExpr e)
    {
        switch (e.Place)
        {
            case LocalPlace { Type: ScriptType.String } p:
                return new Operand(View(p.Local), _isView[p.Local.Index] ? Effect.None : Effect.Locals);
            case LocalPlace p:
                return new Operand(LocalName(p.Local), Effect.Locals);
            case GlobalPlace { Type: ScriptType.String } p:
                return new Operand($"stap_view(&{_context.Name(p.Global)}.buf)", Effect.Globals);
            case GlobalPlace p:
                return new Operand(_context.Locks.Of(p.Global) == Access.Atomic ? $"stap_load(&{_context.Name(p.Global)})" : _context.Name(p.Global), Effect.Globals);
            case ElementPlace p:
                var (key, _) = Key(p.Array, p.Keys);
                return p.Type == ScriptType.String
                    ? StoreText($"stap_get_text(&{_context.Name(p.Array)}, {key})", Effect.Globals)
                    : Store($"stap_get_long(&{_context.Name(p.Array)}, {key})");
            default:
                throw new InvalidOperationException("unknown place");
        }
    }

    private static uint FullMask(Global array) => (1u << array.KeyTypes.Count) - 1;

    // A key as an argument, and which parts are given.
    private (string Code, uint Given) Key(Global array, IReadOnlyList<Expr?> keys, bool keep = false) => Key(array, keys, Operands(keys), keep);

    private (string Code, uint Given) Key(Global array, IReadOnlyList<Expr?> keys, ReadOnlySpan<Operand> operands, bool keep = false)
    {
        uint given = 0;
        var parts = new string[keys.Count];
        for (var i = 0; i < parts.Length; i++)
        {
            var text = array.KeyTypes[i] == ScriptType.String;
            if (keys[i] is null)
            {
                parts[i] = "{ 0 }";
                continue;
            }

            given |= 1u << i;
            var operand = keep && operands[i].Reads != Effect.None ? Save(keys[i]!.Type, operands[i]) : operands[i];
            parts[i] = text ? $"{{ .t = {operand.Code} }}" : $"{{ {Bare(operand.Code)} }}";
        }

        var name = Fresh("k");
        _declares = true;
        _w.Line($"const union stap_key {name}[] = {{ {string.Join(", ", parts)} }};");
        return (name, given);
    }

    private void FailIfFull(string created, Global array, SystemTap.Language.Text.SourceSpan span) =>
        FailIf($"!{created}", $"stap_fail_full(c, {P(span)}, &{_context.Name(array)});");

    private Operand Assign(AssignExpr e, bool wanted)
    {
        switch (e.Place)
        {
            case LocalPlace p:
            {
                var value = Value(e.Value);
                if (p.Type == ScriptType.String)
                {
                    _w.Line($"stap_set({LocalName(p.Local)}, {value.Code});");
                }
                else
                {
                    _w.Line($"{LocalName(p.Local)} = {Bare(value.Code)};");
                }

                return new Operand(p.Type == ScriptType.String ? View(p.Local) : LocalName(p.Local), Effect.Locals);
            }

            case GlobalPlace p:
            {
                var value = Value(e.Value);
                var name = _context.Name(p.Global);
                if (p.Type == ScriptType.String)
                {
                    _w.Line($"stap_set(&{name}.buf, {value.Code});");
                    return new Operand($"stap_view(&{name}.buf)", Effect.Globals);
                }

                if (wanted && !value.IsConstant)
                {
                    value = Store(value.Code);
                }

                _w.Line(_context.Locks.Of(p.Global) == Access.Atomic ? $"stap_store(&{name}, {Bare(value.Code)});" : $"{name} = {Bare(value.Code)};");
                return value;
            }

            case ElementPlace p:
            {
                var operands = Operands([.. p.Keys, e.Value]);
                var value = operands[^1];
                if (wanted && p.Type != ScriptType.String && !value.IsConstant)
                {
                    value = Store(value.Code);
                }
                else if (wanted && p.Type == ScriptType.String && (value.Reads & Effect.Globals) != 0)
                {
                    value = Save(ScriptType.String, value);
                }

                var (key, _) = Key(p.Array, p.Keys, operands);
                FailIfFull($"stap_set_{(p.Type == ScriptType.String ? "text" : "long")}(&{_context.Name(p.Array)}, {key}, {Bare(value.Code)})", p.Array, e.Span);
                return value;
            }

            default:
                throw new InvalidOperationException("unknown place");
        }
    }

    private Operand Update(UpdateExpr e, bool wanted)
    {
        if (e.Place.Type == ScriptType.String)
        {
            return Append(e, wanted);
        }

        switch (e.Place)
        {
            case LocalPlace p:
            {
                var by = Value(e.Operand);
                CheckDivisor(e, by);
                var name = LocalName(p.Local);
                if (!wanted || !e.YieldsOld)
                {
                    _w.Line($"{name} = {Bare(Arithmetic(e.Operator, name, by.Code))};");
                    return new Operand(name, Effect.Locals);
                }

                // The operand may read the variable, so its value is worked out from the old one.
                var old = Store(name);
                _w.Line($"{name} = {Bare(Arithmetic(e.Operator, old.Code, by.Code))};");
                return old;
            }

            case GlobalPlace p:
            {
                var by = Value(e.Operand);
                CheckDivisor(e, by);
                var name = _context.Name(p.Global);
                if (_context.Locks.Of(p.Global) == Access.Atomic)
                {
                    return UpdateAtomic(e, name, by, wanted);
                }

                if (!wanted)
                {
                    _w.Line($"{name} = {Bare(Arithmetic(e.Operator, name, by.Code))};");
                    return Constant("0");
                }

                var old = Store(name);
                var changed = Store(Arithmetic(e.Operator, old.Code, by.Code));
                _w.Line($"{name} = {changed.Code};");
                return e.YieldsOld ? old : changed;
            }

            case ElementPlace p:
                return UpdateElement(e, p, wanted);
            default:
                throw new InvalidOperationException("unknown place");
        }
    }

    private void CheckDivisor(UpdateExpr e, Operand by)
    {
        if (e.Operator is BinaryOperator.Divide or BinaryOperator.Modulo && e.Operand is not LongConst { Value: not 0 })
        {
            FailIf($"!{by.Code}", $"stap_fail(c, {P(e.Span)}, \"division by 0\");");
        }
    }

    private Operand UpdateAtomic(UpdateExpr e, string name, Operand by, bool wanted)
    {
        if (e.Operator is BinaryOperator.Add or BinaryOperator.Subtract)
        {
            if (by.Reads != Effect.None)
            {
                by = Store(by.Code);
            }

            var change = e.Operator == BinaryOperator.Add ? Bare(by.Code) : $"-{by.Code}";
            if (!wanted)
            {
                _w.Line($"stap_add(&{name}, {change});");
                return Constant("0");
            }

            var before = Store($"stap_add(&{name}, {change})");
            return e.YieldsOld ? before : Temporary(Arithmetic(e.Operator, before.Code, by.Code));
        }

        by = by.IsConstant ? by : Store(by.Code);
        var old = Store($"stap_load(&{name})");
        _w.Line($"while (!stap_swap(&{name}, &{old.Code}, {Bare(Arithmetic(e.Operator, old.Code, by.Code))}))");
        _w.Line("\t;");
        return e.YieldsOld ? old : Temporary(Arithmetic(e.Operator, old.Code, by.Code));
    }

    private Operand UpdateElement(UpdateExpr e, ElementPlace p, bool wanted)
    {
        var operands = Operands([.. p.Keys, e.Operand]);
        var by = operands[^1];
        CheckDivisor(e, by);
        var name = _context.Name(p.Array);
        if (by.Reads != Effect.None)
        {
            by = Store(by.Code);
        }

        var (key, _) = Key(p.Array, p.Keys, operands);
        if (!wanted && e.Operator is BinaryOperator.Add or BinaryOperator.Subtract && _context.Locks.Of(p.Array) is Access.SharedByAdders or Access.Adders)
        {
            FailIfFull($"stap_element_add(&{name}, {key}, {(e.Operator == BinaryOperator.Add ? Bare(by.Code) : "-" + by.Code)})", p.Array, e.Span);
            return Constant("0");
        }

        var place = Fresh("p");
        _w.Line($"s64 *{place} = stap_element(&{name}, {key});");
        FailIfFull(place, p.Array, e.Span);
        if (!wanted)
        {
            _w.Line($"*{place} = {Bare(Arithmetic(e.Operator, "*" + place, by.Code))};");
            return Constant("0");
        }

        var old = Store("*" + place);
        var changed = Store(Arithmetic(e.Operator, old.Code, by.Code));
        _w.Line($"*{place} = {changed.Code};");
        return e.YieldsOld ? old : changed;
    }

    // s .= t
    private Operand Append(UpdateExpr e, bool wanted)
    {
        switch (e.Place)
        {
            case LocalPlace p:
            {
                var by = Value(e.Operand);
                var old = wanted && e.YieldsOld ? Save(ScriptType.String, new Operand(View(p.Local), Effect.Locals)) : default;
                _w.Line($"stap_append({P(e.Span)}, {LocalName(p.Local)}, {by.Code});");
                return wanted && e.YieldsOld ? old : new Operand(View(p.Local), Effect.Locals);
            }

            case GlobalPlace p:
            {
                var by = Value(e.Operand);
                var view = $"stap_view(&{_context.Name(p.Global)}.buf)";
                var old = wanted && e.YieldsOld ? Save(ScriptType.String, new Operand(view, Effect.Globals)) : default;
                _w.Line($"stap_append({P(e.Span)}, &{_context.Name(p.Global)}.buf, {by.Code});");
                return wanted && e.YieldsOld ? old : new Operand(view, Effect.Globals);
            }

            case ElementPlace p:
            {
                var operands = Operands([.. p.Keys, e.Operand]);
                var by = operands[^1];
                if ((by.Reads & Effect.Globals) != 0)
                {
                    by = Save(ScriptType.String, by);
                }

                var name = _context.Name(p.Array);
                var (key, _) = Key(p.Array, p.Keys, operands);
                var old = wanted && e.YieldsOld ? StoreText($"stap_keep(c, stap_get_text(&{name}, {key}))") : default;
                FailIfFull($"stap_append_text({P(e.Span)}, &{name}, {key}, {by.Code})", p.Array, e.Span);
                return wanted && e.YieldsOld ? old : wanted ? StoreText($"stap_get_text(&{name}, {key})", Effect.Globals) : Constant("0");
            }

            default:
                throw new InvalidOperationException("unknown place");
        }
    }

    private Operand In(InExpr e)
    {
        var (key, given) = Key(e.Array, e.Keys);
        var name = _context.Name(e.Array);
        return Store(given == FullMask(e.Array) ? $"stap_in(&{name}, {key})" : $"stap_in_matching(&{name}, {key}, 0x{given:x})");
    }

    // --- aggregates

    private string Shape(Global aggregate) => _context.Name(aggregate) + ".shape";

    private static string Statistic(StatisticKind kind) => kind switch
    {
        StatisticKind.Count => "STAP_COUNT",
        StatisticKind.Sum => "STAP_SUM",
        StatisticKind.Min => "STAP_MIN",
        StatisticKind.Max => "STAP_MAX",
        StatisticKind.Average => "STAP_AVG",
        _ => "STAP_VARIANCE",
    };

    private void AddSample(StatAddStmt s)
    {
        var operands = Operands([.. s.Keys, s.Value]);
        var name = _context.Name(s.Aggregate);
        if (s.Keys.Count == 0)
        {
            _w.Line($"stap_sample(c, &{name}, {Bare(operands[^1].Code)});");
            return;
        }

        var (key, _) = Key(s.Aggregate, s.Keys, operands);
        FailIfFull($"stap_element_sample(c, &{name}, {key}, {Bare(operands[^1].Code)})", s.Aggregate, s.Span);
    }

    // Merges an aggregate into a new variable.
    private string ReadStat(Global aggregate, IReadOnlyList<Expr> keys, bool withBuckets)
    {
        var key = keys.Count == 0 ? null : Key(aggregate, keys).Code;
        var name = Fresh("s");
        _declares = true;
        if (withBuckets)
        {
            UsesText();
        }

        _w.Line($"struct stap_stat {name};");
        _w.Line(key is null
            ? $"stap_read_stats(c, &{_context.Name(aggregate)}, {(withBuckets ? 1 : 0)}, &{name});"
            : $"stap_read_element(c, &{_context.Name(aggregate)}, {key}, {(withBuckets ? 1 : 0)}, &{name});");
        return name;
    }

    private Operand Extract(StatExpr e)
    {
        var stat = ReadStat(e.Aggregate, e.Keys, withBuckets: false);
        if (e.Kind is StatisticKind.Count or StatisticKind.Sum)
        {
            return Temporary(stat + (e.Kind == StatisticKind.Count ? ".count" : ".sum"));
        }

        FailIf($"!{stat}.count", $"stap_fail(c, {P(e.Span)}, \"empty aggregate\");");
        return Temporary(e.Kind switch
        {
            StatisticKind.Min => stat + ".min",
            StatisticKind.Max => stat + ".max",
            StatisticKind.Average => $"stap_div({stat}.sum, {stat}.count)",
            _ => stat + ".variance",
        });
    }

    private Operand Bucket(BucketExpr e)
    {
        var stat = ReadStat(e.Aggregate, e.Keys, withBuckets: true);
        var index = Value(e.Index);
        FailIf($"{index.Code} < 0 || {index.Code} >= {e.Aggregate.Shape!.BucketCount}", $"stap_fail(c, {P(e.Span)}, \"histogram index out of range\");");
        FailIf($"!{stat}.count || !{stat}.bucket", $"stap_fail(c, {P(e.Span)}, \"empty aggregate\");");
        return Store($"{stat}.bucket[{Bare(index.Code)}]");
    }

    private Operand Histogram(HistogramTextExpr e)
    {
        var stat = ReadStat(e.Aggregate, e.Keys, withBuckets: true);
        FailIf($"!{stat}.count", $"stap_fail(c, {P(e.Span)}, \"empty aggregate\");");
        return new Operand("STAP_EMPTY", Effect.None) { Histogram = (Shape(e.Aggregate), stat) };
    }
}
