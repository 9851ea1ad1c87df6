using SystemTap.Language.Syntax;

namespace SystemTap.Semantics.Binding;

/// <summary>Questions about syntax alone, answered by one walk.</summary>
internal static class SyntaxFacts
{
    /// <summary>The function can hand its call to the next overload.</summary>
    public static bool HasNext(FunctionDefinition function) =>
        function.EmbeddedCode is { } code ? code.Contains("STAP_NEXT", StringComparison.Ordinal) : Scan(function.Body, Fact.Next);

    /// <summary>Some <c>return e</c> gives a value.</summary>
    public static bool ReturnsValue(FunctionDefinition function) => Scan(function.Body, Fact.ReturnValue);

    /// <summary>The body itself mentions <c>$x</c> or another thing that only a probe's context can answer.</summary>
    public static bool MentionsContext(BlockStatement? body) => Scan(body, Fact.Context);

    /// <summary>Some statement of the block assigns, changes or deletes the plain variable.</summary>
    public static bool Writes(BlockStatement? block, string name)
    {
        var scanner = new Scanner(Fact.Writes) { Name = name };
        scanner.Visit(block);
        return scanner.Found;
    }

    /// <summary>Adds the plain names that a file assigns, changes or deletes anywhere.</summary>
    public static void AddWritten(ScriptFile file, HashSet<string> names)
    {
        var collector = new WriteCollector(names);
        foreach (var item in file.Items)
        {
            switch (item)
            {
                case ProbeDefinition p: collector.Visit(p.Body); break;
                case FunctionDefinition f: collector.Visit(f.Body); break;
                case AliasDefinition a:
                    collector.Visit(a.Body);
                    collector.Visit(a.Epilogue);
                    break;
            }
        }
    }

    /// <summary>Adds the plain names that a block assigns, changes or deletes.</summary>
    public static void AddWritten(BlockStatement? block, HashSet<string> names) => new WriteCollector(names).Visit(block);

    private sealed class WriteCollector(HashSet<string> names) : SyntaxWalker
    {
        public override void Visit(Statement? statement)
        {
            switch (statement)
            {
                case DeleteStatement d: Add(d.Operand); break;
                case ForeachStatement f:
                    foreach (var key in f.Keys)
                    {
                        Add(key);
                    }

                    Add(f.Value);
                    break;
                case TryStatement t: Add(t.Variable); break;
            }

            base.Visit(statement);
        }

        public override void Visit(Expression? expression)
        {
            switch (expression)
            {
                case AssignmentExpression e: Add(e.Target); break;
                case IncrementExpression e: Add(e.Operand); break;
                case StatisticAddExpression e: Add(e.Target); break;
            }

            base.Visit(expression);
        }

        private void Add(Expression? target)
        {
            switch (target)
            {
                case IdentifierExpression id: names.Add(id.Name); break;
                case IndexExpression { Array: IdentifierExpression id }: names.Add(id.Name); break;
            }
        }
    }

    private static bool Scan(BlockStatement? body, Fact fact)
    {
        var scanner = new Scanner(fact);
        scanner.Visit(body);
        return scanner.Found;
    }

    private enum Fact
    {
        Next,
        ReturnValue,
        Context,
        Writes,
    }

    private sealed class Scanner(Fact fact) : SyntaxWalker
    {
        public string? Name { get; init; }

        public bool Found { get; private set; }

        public override void Visit(Statement? statement)
        {
            if (Found)
            {
                return;
            }

            Found = fact switch
            {
                Fact.Next => statement is NextStatement,
                Fact.ReturnValue => statement is ReturnStatement { Value: not null },
                Fact.Writes => statement switch
                {
                    DeleteStatement { Operand: var operand } => IsNamed(operand),
                    ForeachStatement loop => loop.Keys.Any(IsNamed) || (loop.Value is { } v && IsNamed(v)),
                    TryStatement { Variable: { } caught } => IsNamed(caught),
                    _ => false,
                },
                _ => false,
            };
            if (!Found)
            {
                base.Visit(statement);
            }
        }

        public override void Visit(Expression? expression)
        {
            if (Found || fact is Fact.Next or Fact.ReturnValue)
            {
                return;
            }

            Found = fact switch
            {
                Fact.Context => expression is TargetVariable or EntryExpression,
                _ => expression switch
                {
                    AssignmentExpression e => IsNamed(e.Target),
                    IncrementExpression e => IsNamed(e.Operand),
                    StatisticAddExpression e => IsNamed(e.Target),
                    _ => false,
                },
            };
            if (!Found)
            {
                base.Visit(expression);
            }
        }

        private bool IsNamed(Expression e) => e switch
        {
            IdentifierExpression id => id.Name == Name,
            TargetVariable target => target.Name == Name,
            IndexExpression index => IsNamed(index.Array),
            _ => false,
        };
    }
}
