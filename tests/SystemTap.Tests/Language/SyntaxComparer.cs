using SystemTap.Language.Syntax;

namespace SystemTap.Tests.Language;

/// <summary>Structural equality of trees: everything but places.</summary>
internal static class SyntaxComparer
{
    /// <summary>True if two trees mean the same text. Two nulls are equal.</summary>
    public static bool Equal(SyntaxNode? a, SyntaxNode? b)
    {
        if (a is null || b is null)
        {
            return a is null && b is null;
        }

        return (a, b) switch
        {
            (ScriptFile x, ScriptFile y) => All(x.Items, y.Items),
            (TopLevelNode x, TopLevelNode y) => Definitions(x, y),
            (Parameter x, Parameter y) => x.Name == y.Name && x.Type == y.Type,
            (ProbePoint x, ProbePoint y) => x.IsOptional == y.IsOptional && x.IsSufficient == y.IsSufficient
                && All(x.Components, y.Components) && Equal(x.Condition, y.Condition),
            (ProbeComponent x, ProbeComponent y) => x.Name == y.Name && Equal(x.Argument, y.Argument),
            (MemberAccessor x, MemberAccessor y) => x.Name == y.Name,
            (IndexAccessor x, IndexAccessor y) => Equal(x.Index, y.Index),
            (Statement x, Statement y) => Statements(x, y),
            (Expression x, Expression y) => Expressions(x, y),
            _ => false,
        };
    }

    private static bool All<T>(IReadOnlyList<T>? a, IReadOnlyList<T>? b)
        where T : SyntaxNode?
    {
        if (a is null || b is null)
        {
            return a is null && b is null;
        }

        if (a.Count != b.Count)
        {
            return false;
        }

        for (var i = 0; i < a.Count; i++)
        {
            if (!Equal(a[i], b[i]))
            {
                return false;
            }
        }

        return true;
    }

    private static bool Definitions(TopLevelNode a, TopLevelNode b) => (a, b) switch
    {
        (EmbeddedCDefinition x, EmbeddedCDefinition y) => x.Code == y.Code,
        (GlobalDefinition x, GlobalDefinition y) => x.Name == y.Name && x.IsPrivate == y.IsPrivate && x.MaxSize == y.MaxSize
            && x.Wraps == y.Wraps && Equal(x.Initializer, y.Initializer),
        (FunctionDefinition x, FunctionDefinition y) => x.Name == y.Name && x.IsPrivate == y.IsPrivate && x.ReturnType == y.ReturnType
            && x.Priority == y.Priority && x.EmbeddedCode == y.EmbeddedCode && All(x.Parameters, y.Parameters) && Equal(x.Body, y.Body),
        (ProbeDefinition x, ProbeDefinition y) => All(x.Points, y.Points) && Equal(x.Body, y.Body),
        (AliasDefinition x, AliasDefinition y) => x.IsEpilogueStyle == y.IsEpilogueStyle && All(x.Names, y.Names)
            && All(x.Points, y.Points) && Equal(x.Body, y.Body) && Equal(x.Epilogue, y.Epilogue),
        _ => false,
    };

    private static bool Statements(Statement a, Statement b) => (a, b) switch
    {
        (BlockStatement x, BlockStatement y) => All(x.Statements, y.Statements),
        (EmptyStatement, EmptyStatement) => true,
        (ExpressionStatement x, ExpressionStatement y) => Equal(x.Expression, y.Expression),
        (IfStatement x, IfStatement y) => Equal(x.Condition, y.Condition) && Equal(x.Then, y.Then) && Equal(x.Else, y.Else),
        (WhileStatement x, WhileStatement y) => Equal(x.Condition, y.Condition) && Equal(x.Body, y.Body),
        (ForStatement x, ForStatement y) => Equal(x.Initializer, y.Initializer) && Equal(x.Condition, y.Condition)
            && Equal(x.Increment, y.Increment) && Equal(x.Body, y.Body),
        (ForeachStatement x, ForeachStatement y) => All(x.Keys, y.Keys) && Equal(x.Value, y.Value) && Equal(x.Array, y.Array)
            && All(x.Slice, y.Slice) && x.Direction == y.Direction
            && (x.SortKey == y.SortKey || x.Direction == SortDirection.None)
            && x.SortStatistic == y.SortStatistic && Equal(x.Limit, y.Limit) && Equal(x.Body, y.Body),
        (BreakStatement, BreakStatement) => true,
        (ContinueStatement, ContinueStatement) => true,
        (NextStatement, NextStatement) => true,
        (ReturnStatement x, ReturnStatement y) => Equal(x.Value, y.Value),
        (DeleteStatement x, DeleteStatement y) => Equal(x.Operand, y.Operand),
        (TryStatement x, TryStatement y) => Equal(x.Body, y.Body) && Equal(x.Variable, y.Variable) && Equal(x.Handler, y.Handler),
        _ => false,
    };

    private static bool Expressions(Expression a, Expression b) => (a, b) switch
    {
        (NumberLiteral x, NumberLiteral y) => x.Value == y.Value,
        (StringLiteral x, StringLiteral y) => x.Value == y.Value,
        (IdentifierExpression x, IdentifierExpression y) => x.Name == y.Name,
        (IndexExpression x, IndexExpression y) => Equal(x.Array, y.Array) && All(x.Indexes, y.Indexes),
        (UnaryExpression x, UnaryExpression y) => x.Operator == y.Operator && Equal(x.Operand, y.Operand),
        (IncrementExpression x, IncrementExpression y) => x.IsPrefix == y.IsPrefix && x.IsDecrement == y.IsDecrement && Equal(x.Operand, y.Operand),
        (BinaryExpression x, BinaryExpression y) => x.Operator == y.Operator && Equal(x.Left, y.Left) && Equal(x.Right, y.Right),
        (RegexExpression x, RegexExpression y) => x.IsNegated == y.IsNegated && Equal(x.Operand, y.Operand) && Equal(x.Pattern, y.Pattern),
        (InExpression x, InExpression y) => All(x.Keys, y.Keys) && Equal(x.Array, y.Array),
        (TernaryExpression x, TernaryExpression y) => Equal(x.Condition, y.Condition) && Equal(x.WhenTrue, y.WhenTrue) && Equal(x.WhenFalse, y.WhenFalse),
        (AssignmentExpression x, AssignmentExpression y) => x.Operator == y.Operator && Equal(x.Target, y.Target) && Equal(x.Value, y.Value),
        (StatisticAddExpression x, StatisticAddExpression y) => Equal(x.Target, y.Target) && Equal(x.Value, y.Value),
        (CallExpression x, CallExpression y) => x.Name == y.Name && All(x.Arguments, y.Arguments),
        (StatisticExpression x, StatisticExpression y) => x.Kind == y.Kind && x.Shift == y.Shift && Equal(x.Operand, y.Operand),
        (HistogramExpression x, HistogramExpression y) => x.IsLinear == y.IsLinear && x.Low == y.Low && x.High == y.High && x.Step == y.Step && Equal(x.Operand, y.Operand),
        (EmbeddedCExpression x, EmbeddedCExpression y) => x.Code == y.Code,
        (PrintExpression x, PrintExpression y) => Prints(x, y),
        (TargetVariable x, TargetVariable y) => x.Name == y.Name,
        (AtVarExpression x, AtVarExpression y) => Equal(x.Name, y.Name) && Equal(x.Module, y.Module),
        (CastExpression x, CastExpression y) => Equal(x.Operand, y.Operand) && Equal(x.Type, y.Type) && Equal(x.Module, y.Module),
        (TargetExpression x, TargetExpression y) => x.AddressOf == y.AddressOf && x.PrettyDepth == y.PrettyDepth
            && Equal(x.Value, y.Value) && All(x.Accessors, y.Accessors),
        (DefinedExpression x, DefinedExpression y) => Equal(x.Operand, y.Operand),
        (EntryExpression x, EntryExpression y) => Equal(x.Operand, y.Operand),
        (PerfExpression x, PerfExpression y) => Equal(x.Counter, y.Counter),
        (ProbeWriteExpression x, ProbeWriteExpression y) => x.Variable == y.Variable,
        (ConstExpression x, ConstExpression y) => Equal(x.Code, y.Code),
        (EnumExpression x, EnumExpression y) => Equal(x.Name, y.Name),
        (EnumNameExpression x, EnumNameExpression y) => Equal(x.Operand, y.Operand) && Equal(x.Type, y.Type) && Equal(x.Module, y.Module),
        (DerefExpression x, DerefExpression y) => x.IsUser == y.IsUser && x.Size == y.Size && Equal(x.Address, y.Address),
        (RegisterExpression x, RegisterExpression y) => x.IsUser == y.IsUser && x.Number == y.Number,
        _ => false,
    };

    private static bool Prints(PrintExpression a, PrintExpression b)
    {
        if (a.Kind != b.Kind || a.ReturnsString != b.ReturnsString || a.Delimiter != b.Delimiter || a.Format.Count != b.Format.Count
            || !Equal(a.FormatLiteral, b.FormatLiteral) || !All(a.Arguments, b.Arguments))
        {
            return false;
        }

        for (var i = 0; i < a.Format.Count; i++)
        {
            if (a.Format[i] != b.Format[i])
            {
                return false;
            }
        }

        return true;
    }
}
