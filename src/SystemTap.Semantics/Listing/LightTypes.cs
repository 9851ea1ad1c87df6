using SystemTap.Language.Syntax;
using SystemTap.Semantics.Intrinsics;
using SystemTap.Semantics.Lowered;
using SystemTap.Semantics.Tapsets;

namespace SystemTap.Semantics.Listing;

// Listings show types of script variables and functions without compiling anything: "-L syscall.*" must not bind 350 handlers.
// So types are read off the syntax: literals, operators, formats, annotations, intrinsics, and functions looked into as far as needed.
// What stays open is "unknown"; binding, which sees everything, is the authority.

/// <summary>Types of script functions and of the locals of a block, inferred from syntax alone.</summary>
public sealed class LightTypes
{
    private const int DeepestCall = 12;

    private readonly ITapsetLibrary _library;
    private readonly Dictionary<string, List<FunctionDefinition>> _userFunctions = new(StringComparer.Ordinal);
    private readonly Dictionary<FunctionDefinition, Signature> _signatures = [];
    private readonly HashSet<FunctionDefinition> _open = [];

    /// <summary>Types of a function: parameters and result; None is unknown (for the result also: nothing is returned).</summary>
    public sealed record Signature(TypeAnnotation Return, TypeAnnotation[] Parameters);

    /// <param name="library">Where functions are defined.</param>
    /// <param name="userFiles">Scripts, whose functions come first.</param>
    public LightTypes(ITapsetLibrary library, IEnumerable<ScriptFile> userFiles)
    {
        _library = library;
        foreach (var file in userFiles)
        {
            foreach (var item in file.Items)
            {
                if (item is FunctionDefinition f)
                {
                    if (!_userFunctions.TryGetValue(f.Name, out var list))
                    {
                        _userFunctions[f.Name] = list = [];
                    }

                    list.Add(f);
                }
            }
        }
    }

    /// <summary>The types of a function.</summary>
    public Signature Of(FunctionDefinition function)
    {
        if (_signatures.TryGetValue(function, out var known))
        {
            return known;
        }

        var parameters = new TypeAnnotation[function.Parameters.Count];
        var scope = new Scope(this, null);
        for (var i = 0; i < parameters.Length; i++)
        {
            scope.Set(function.Parameters[i].Name, parameters[i] = function.Parameters[i].Type);
        }

        if (function.Body is null || _open.Count >= DeepestCall || !_open.Add(function))
        {
            return new Signature(function.ReturnType, parameters); // not remembered: a later question may go deeper
        }

        scope.Returns = function.ReturnType;
        scope.Block(function.Body);
        scope.Block(function.Body); // what the end of the body tells of its beginning
        for (var i = 0; i < parameters.Length; i++)
        {
            parameters[i] = scope.Get(function.Parameters[i].Name);
        }

        _open.Remove(function);
        return _signatures[function] = new Signature(scope.Returns, parameters);
    }

    /// <summary>Locals that the blocks assign, in order of appearance, with their types. Names in <paramref name="globals"/> are none.</summary>
    public List<(string Name, TypeAnnotation Type)> Locals(IEnumerable<BlockStatement> blocks, IReadOnlySet<string> globals)
    {
        var scope = new Scope(this, globals);
        foreach (var block in blocks)
        {
            scope.Block(block);
            scope.Block(block);
        }

        return scope.Assigned;
    }

    private Signature? Call(string name, int arity)
    {
        if (IntrinsicTable.Find(name) is { } intrinsic)
        {
            var types = new TypeAnnotation[intrinsic.Parameters.Count];
            for (var i = 0; i < types.Length; i++)
            {
                types[i] = Annotation(intrinsic.Parameters[i]);
            }

            return new Signature(Annotation(intrinsic.ReturnType), types);
        }

        if (Find(_userFunctions.GetValueOrDefault(name), arity) is { } own)
        {
            return Of(own);
        }

        foreach (var file in _library.FilesWithFunction(name))
        {
            foreach (var item in file.Items)
            {
                if (item is FunctionDefinition f && f.Name == name && f.Parameters.Count == arity)
                {
                    return Of(f);
                }
            }
        }

        return null;
    }

    private static FunctionDefinition? Find(List<FunctionDefinition>? list, int arity)
    {
        foreach (var f in list ?? [])
        {
            if (f.Parameters.Count == arity)
            {
                return f;
            }
        }

        return null;
    }

    private static TypeAnnotation Annotation(ScriptType type) => type switch
    {
        ScriptType.Long => TypeAnnotation.Long,
        ScriptType.String => TypeAnnotation.String,
        _ => TypeAnnotation.None,
    };

    /// <summary>One function or handler.</summary>
    private sealed class Scope(LightTypes types, IReadOnlySet<string>? globals)
    {
        private const TypeAnnotation Long = TypeAnnotation.Long;
        private const TypeAnnotation String = TypeAnnotation.String;
        private const TypeAnnotation None = TypeAnnotation.None;

        private readonly Dictionary<string, TypeAnnotation> _types = new(StringComparer.Ordinal);
        private readonly List<string> _assigned = [];

        public TypeAnnotation Returns { get; set; }

        public List<(string, TypeAnnotation)> Assigned => _assigned.ConvertAll(n => (n, Get(n)));

        public TypeAnnotation Get(string name) => _types.GetValueOrDefault(name);

        public void Set(string name, TypeAnnotation type)
        {
            if (type != None && Get(name) == None)
            {
                _types[name] = type;
            }
        }

        private void Assign(Expression target, TypeAnnotation type)
        {
            if (target is IdentifierExpression { Name: var name } && globals?.Contains(name) != true)
            {
                if (!_assigned.Contains(name))
                {
                    _assigned.Add(name);
                }

                Set(name, type);
            }
        }

        public void Block(BlockStatement block)
        {
            foreach (var statement in block.Statements)
            {
                Visit(statement);
            }
        }

        private void Visit(Statement statement)
        {
            switch (statement)
            {
                case BlockStatement b:
                    Block(b);
                    break;
                case ExpressionStatement e:
                    Visit(e.Expression);
                    break;
                case IfStatement i:
                    Visit(i.Condition, Long);
                    Visit(i.Then);
                    if (i.Else is not null)
                    {
                        Visit(i.Else);
                    }

                    break;
                case WhileStatement w:
                    Visit(w.Condition, Long);
                    Visit(w.Body);
                    break;
                case ForStatement f:
                    Optional(f.Initializer);
                    Optional(f.Condition);
                    Optional(f.Increment);
                    Visit(f.Body);
                    break;
                case ForeachStatement f:
                    Optional(f.Limit);
                    Visit(f.Body);
                    break;
                case ReturnStatement { Value: { } value }:
                    var type = Visit(value, Returns);
                    Returns = Returns == None ? type : Returns;
                    break;
                case TryStatement t:
                    Block(t.Body);
                    if (t.Variable is not null)
                    {
                        Set(t.Variable.Name, String);
                    }

                    Block(t.Handler);
                    break;
            }
        }

        private void Optional(Expression? e)
        {
            if (e is not null)
            {
                Visit(e);
            }
        }

        private TypeAnnotation Both(Expression left, Expression right)
        {
            var type = Visit(left);
            type = Visit(right, type);
            if (type != None)
            {
                Visit(left, type);
            }

            return type;
        }

        /// <summary>The type of an expression; <paramref name="expected"/> is what its place demands.</summary>
        private TypeAnnotation Visit(Expression e, TypeAnnotation expected = None)
        {
            switch (e)
            {
                case IdentifierExpression id:
                    Set(id.Name, expected);
                    return Get(id.Name);
                case StringLiteral or EnumNameExpression:
                    return String;
                case TargetVariable v:
                    return v.Name is "$$vars" or "$$parms" or "$$locals" or "$$return" or "$$name" or "$$system" or "$value" ? String : Long;
                case TargetExpression t:
                    return t.PrettyDepth > 0 ? String : Long;
                case PrintExpression p:
                    Print(p);
                    return p.ReturnsString ? String : None;
                case BinaryExpression { Operator: BinaryOperator.Concat } b:
                    Visit(b.Left, String);
                    Visit(b.Right, String);
                    return String;
                case BinaryExpression { Operator: >= BinaryOperator.Less and <= BinaryOperator.NotEqual } b:
                    Both(b.Left, b.Right);
                    return Long;
                case BinaryExpression b:
                    Visit(b.Left, Long);
                    Visit(b.Right, Long);
                    return Long;
                case UnaryExpression u:
                    Visit(u.Operand, Long);
                    return Long;
                case IncrementExpression i:
                    Visit(i.Operand, Long);
                    Assign(i.Operand, Long);
                    return Long;
                case TernaryExpression t:
                    Visit(t.Condition, Long);
                    var type = Both(t.WhenTrue, t.WhenFalse);
                    return type == None ? expected : type;
                case RegexExpression r:
                    Visit(r.Operand, String);
                    return Long;
                case AssignmentExpression a:
                    var known = a.Operator switch
                    {
                        null => a.Target is IdentifierExpression target ? Get(target.Name) : None,
                        BinaryOperator.Concat => String,
                        _ => Long,
                    };
                    var value = Visit(a.Value, known);
                    known = known == None ? value : known;
                    Assign(a.Target, known);
                    return known;
                case CallExpression c:
                    var signature = types.Call(c.Name, c.Arguments.Count);
                    for (var i = 0; i < c.Arguments.Count; i++)
                    {
                        Visit(c.Arguments[i], signature is not null && i < signature.Parameters.Length ? signature.Parameters[i] : None);
                    }

                    return signature?.Return ?? None;
                case IndexExpression:
                    return expected; // an array of another place: its type is not known here
                default:
                    return Long;
            }
        }

        private void Print(PrintExpression p)
        {
            if (p.Kind != PrintKind.Format)
            {
                foreach (var argument in p.Arguments)
                {
                    Visit(argument);
                }

                return;
            }

            var next = 0;
            foreach (var segment in p.Format)
            {
                if (segment.Conversion == FormatConversion.Literal)
                {
                    continue;
                }

                Argument(segment.WidthKind == FormatSize.Dynamic, Long);
                Argument(segment.PrecisionKind == FormatSize.Dynamic, Long);
                Argument(true, segment.Conversion == FormatConversion.String ? String : Long);
            }

            void Argument(bool taken, TypeAnnotation type)
            {
                if (taken && next < p.Arguments.Count)
                {
                    Visit(p.Arguments[next++], type);
                }
            }
        }
    }
}
