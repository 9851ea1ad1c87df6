using SystemTap.Language.Syntax;

namespace SystemTap.Semantics.Lowered;

/// <summary>
/// Checks what engines rely on: types agree, locals belong to the body that uses them, globals and functions are those of the program, loops surround
/// break and continue, formats have their arguments. A failure is a defect of pass 2; tests verify every program they elaborate.
/// </summary>
public static class LoweredVerifier
{
    /// <summary>Throws <see cref="InvalidOperationException"/> that names the broken rule and the place.</summary>
    public static void Verify(LoweredProgram program)
    {
        for (var i = 0; i < program.Globals.Count; i++)
        {
            var global = program.Globals[i];
            Require(global.Index == i, $"global '{global.Name}' has index {global.Index} at position {i}");
            Require(global.Type != ScriptType.Void, $"global '{global.Name}' has no type");
            Require(global.Type == ScriptType.Statistics == (global.Shape is not null), $"shape of global '{global.Name}'");
            foreach (var key in global.KeyTypes)
            {
                Require(key is ScriptType.Long or ScriptType.String, $"key type of '{global.Name}'");
            }

            Require(!global.IsArray || global.MaxEntries > 0, $"array '{global.Name}' has no room");
        }

        var functions = new HashSet<Function>(program.Functions);
        for (var i = 0; i < program.Functions.Count; i++)
        {
            var function = program.Functions[i];
            Locals(function.Locals, function.Name);
            Require(function.ParameterCount <= function.Locals.Count, $"parameters of '{function.Name}'");
            Require(function.NextOverload is null || functions.Contains(function.NextOverload), $"overload of '{function.Name}' is not in the program");
            new Checker(program, functions, function.Locals, function).Check(function.Body);
        }

        for (var i = 0; i < program.Probes.Count; i++)
        {
            var probe = program.Probes[i];
            Require(probe.Index == i, $"probe '{probe.Name}' has index {probe.Index} at position {i}");
            Locals(probe.Locals, probe.Name);
            var checker = new Checker(program, functions, probe.Locals, null);
            checker.Check(probe.Body);
            checker.Visit(probe.Condition);
        }
    }

    private static void Locals(IReadOnlyList<Local> locals, string owner)
    {
        for (var i = 0; i < locals.Count; i++)
        {
            Require(locals[i].Index == i, $"local '{locals[i].Name}' of '{owner}' has index {locals[i].Index} at position {i}");
            Require(locals[i].Type is ScriptType.Long or ScriptType.String, $"type of local '{locals[i].Name}' of '{owner}'");
        }
    }

    private static void Require(bool condition, string rule)
    {
        if (!condition)
        {
            throw new InvalidOperationException("lowered program: " + rule);
        }
    }

    private sealed class Checker(LoweredProgram program, HashSet<Function> functions, IReadOnlyList<Local> locals, Function? function) : LoweredWalker
    {
        private int _loops;

        public void Check(Stmt body) => Visit(body);

        public override void Visit(Stmt? statement)
        {
            switch (statement)
            {
                case IfStmt s: Type(s.Condition, ScriptType.Long); break;
                case LoopStmt s:
                    Type(s.Condition, ScriptType.Long);
                    Visit(s.Condition);
                    _loops++;
                    Visit(s.Body);
                    _loops--;
                    Visit(s.Step);
                    return;
                case ForeachStmt s:
                    Known(s.Array);
                    foreach (var key in s.Keys)
                    {
                        Own(key);
                    }

                    Own(s.Value);
                    if (s.OverBuckets)
                    {
                        Require(s.Keys.Count == 1 && s.Array.Shape is { Histogram: not HistogramKind.None }, $"bucket loop at {s.Span}");
                        Keys(s.Array, s.BucketKeys, s.Span.ToString());
                    }
                    else
                    {
                        Require(s.Keys.Count == s.Array.KeyTypes.Count, $"key count of foreach at {s.Span}");
                        for (var i = 0; i < s.Keys.Count; i++)
                        {
                            Require(s.Keys[i].Type == s.Array.KeyTypes[i], $"key type of foreach at {s.Span}");
                        }

                        Require(s.Value is null || s.Value.Type == s.Array.Type, $"value type of foreach at {s.Span}");
                        if (s.Slice is not null)
                        {
                            Keys(s.Array, s.Slice, s.Span.ToString());
                        }
                    }

                    Type(s.Limit, ScriptType.Long);
                    Visit(s.BucketKeys);
                    Visit(s.Slice);
                    Visit(s.Limit);
                    _loops++;
                    Visit(s.Body);
                    _loops--;
                    return;
                case BreakStmt or ContinueStmt:
                    Require(_loops > 0, $"break or continue outside a loop at {statement.Span}");
                    break;
                case ReturnStmt s:
                    Require(function is not null, $"return in a probe at {s.Span}");
                    if (s.Value is not null)
                    {
                        Type(s.Value, function!.ReturnType);
                    }

                    break;
                case DeleteStmt s:
                    Known(s.Global);
                    if (s.Keys is not null)
                    {
                        Keys(s.Global, s.Keys, s.Span.ToString());
                    }

                    break;
                case StatAddStmt s:
                    Known(s.Aggregate);
                    Require(s.Aggregate.Type == ScriptType.Statistics, $"sample for '{s.Aggregate.Name}', which is no aggregate");
                    Keys(s.Aggregate, s.Keys, s.Span.ToString());
                    Type(s.Value, ScriptType.Long);
                    break;
                case TryStmt { Message: { } message }:
                    Own(message);
                    Require(message.Type == ScriptType.String, "type of a catch variable");
                    break;
                case PrintStmt s: Format(s.Segments, s.Arguments, s.Span.ToString()); break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expr? expression)
        {
            switch (expression)
            {
                case AssignExpr e: Type(e.Value, e.Place.Type); break;
                case UpdateExpr e:
                    Type(e.Operand, e.Place.Type);
                    Require(e.Operator == BinaryOperator.Concat == (e.Place.Type == ScriptType.String), $"operator of update at {e.Span}");
                    break;
                case BinaryExpr e:
                    Type(e.Left, ScriptType.Long);
                    Type(e.Right, ScriptType.Long);
                    Require(e.Operator is not (BinaryOperator.Concat or BinaryOperator.LogicalAnd or BinaryOperator.LogicalOr), $"operator at {e.Span}");
                    break;
                case StringCompareExpr e:
                    Type(e.Left, ScriptType.String);
                    Type(e.Right, ScriptType.String);
                    Require(e.Operator is >= BinaryOperator.Less and <= BinaryOperator.NotEqual, $"operator at {e.Span}");
                    break;
                case LogicalExpr e:
                    Type(e.Left, ScriptType.Long);
                    Type(e.Right, ScriptType.Long);
                    break;
                case UnaryExpr e:
                    Type(e.Operand, ScriptType.Long);
                    Require(e.Operator != UnaryOperator.Plus, "unary plus is lowered away");
                    break;
                case ConditionalExpr e:
                    Type(e.Condition, ScriptType.Long);
                    Type(e.WhenFalse, e.WhenTrue.Type);
                    break;
                case ConcatExpr e:
                    Require(e.Parts.Count > 1, $"concatenation of one at {e.Span}");
                    foreach (var part in e.Parts)
                    {
                        Type(part, ScriptType.String);
                    }

                    break;
                case InExpr e:
                    Known(e.Array);
                    Keys(e.Array, e.Keys, e.Span.ToString());
                    break;
                case CallExpr e:
                    Require(functions.Contains(e.Function), $"function '{e.Function.Name}' is not in the program");
                    Require(e.Arguments.Count == e.Function.ParameterCount, $"argument count of '{e.Function.Name}'");
                    for (var i = 0; i < e.Arguments.Count; i++)
                    {
                        Type(e.Arguments[i], e.Function.Locals[i].Type);
                    }

                    break;
                case IntrinsicExpr e:
                    Require(e.Arguments.Count == e.Intrinsic.Parameters.Count, $"argument count of '{e.Intrinsic.Name}'");
                    for (var i = 0; i < e.Arguments.Count; i++)
                    {
                        Type(e.Arguments[i], e.Intrinsic.Parameters[i]);
                    }

                    break;
                case DerefExpr e:
                    Type(e.Address, ScriptType.Long);
                    Require(e.Size is 1 or 2 or 4 or 8, $"size of a read at {e.Span}");
                    break;
                case FormatExpr e: Format(e.Segments, e.Arguments, e.Span.ToString()); break;
                case HistogramTextExpr e:
                    Statistic(e.Aggregate, e.Keys, e.Span.ToString());
                    Require(e.Aggregate.Shape is { Histogram: not HistogramKind.None }, $"histogram of '{e.Aggregate.Name}'");
                    break;
                case StatExpr e: Statistic(e.Aggregate, e.Keys, e.Span.ToString()); break;
                case BucketExpr e:
                    Statistic(e.Aggregate, e.Keys, e.Span.ToString());
                    Type(e.Index, ScriptType.Long);
                    break;
                case RegexExpr e:
                    Type(e.Subject, ScriptType.String);
                    Require(e.Regex.Index < program.Regexes.Count && program.Regexes[e.Regex.Index] == e.Regex, "regex of another program");
                    break;
            }

            base.Visit(expression);
        }

        public override void Visit(Place place)
        {
            switch (place)
            {
                case LocalPlace p: Own(p.Local); break;
                case GlobalPlace p:
                    Known(p.Global);
                    Require(!p.Global.IsArray && p.Global.Type != ScriptType.Statistics, $"'{p.Global.Name}' is no scalar");
                    break;
                case ElementPlace p:
                    Known(p.Array);
                    Require(p.Array.Type != ScriptType.Statistics, $"'{p.Array.Name}' holds aggregates");
                    Keys(p.Array, p.Keys, p.Array.Name);
                    break;
            }

            base.Visit(place);
        }

        private void Statistic(Global global, IReadOnlyList<Expr> keys, string place)
        {
            Known(global);
            Require(global.Type == ScriptType.Statistics, $"'{global.Name}' is no aggregate at {place}");
            Keys(global, keys, place);
        }

        private static void Type(Expr? e, ScriptType type)
        {
            if (e is not null)
            {
                Require(e.Type == type, $"{e.GetType().Name} at {e.Span} is {e.Type}, {type} is needed");
            }
        }

        private void Known(Global global) =>
            Require(global.Index < program.Globals.Count && program.Globals[global.Index] == global, $"global '{global.Name}' is not in the program");

        private void Own(Local? local)
        {
            if (local is not null)
            {
                Require(local.Index < locals.Count && locals[local.Index] == local, $"local '{local.Name}' belongs to another body");
            }
        }

        private static void Keys(Global array, IReadOnlyList<Expr?> keys, string place)
        {
            Require(keys.Count == array.KeyTypes.Count, $"key count of '{array.Name}' at {place}");
            for (var i = 0; i < keys.Count; i++)
            {
                Type(keys[i], array.KeyTypes[i]);
            }
        }

        private static void Format(IReadOnlyList<FormatSegment> segments, IReadOnlyList<Expr> arguments, string place)
        {
            var next = 0;
            foreach (var segment in segments)
            {
                if (segment.Conversion == FormatConversion.Literal)
                {
                    continue;
                }

                next += (segment.WidthKind == FormatSize.Dynamic ? 1 : 0) + (segment.PrecisionKind == FormatSize.Dynamic ? 1 : 0);
                Require(next < arguments.Count, $"format at {place} lacks arguments");
                Type(arguments[next], segment.Conversion == FormatConversion.String ? ScriptType.String : ScriptType.Long);
                next++;
            }

            Require(next == arguments.Count, $"format at {place} has arguments left over");
        }
    }
}
