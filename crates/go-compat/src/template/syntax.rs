//! Parsing: `gotmpl`'s parser, what it lets through that Go does not, and fields made calls.

use std::mem;
use std::sync::Arc;

use gotmpl::parse::{
    BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, Number, Parser, PipeNode, Pos, SmolStr,
};
use gotmpl::{FuncMap, Template};

use super::cost::Price;
use super::engine::{clipped, plain_message};
use super::{cost, value};

/// Where the body is registered, under a name that no user gives a template.
pub const MAIN: &str = "\u{1}main";

/// The function that a chain of fields becomes, with its length in front and its arguments behind:
/// `.ContainerCreated.Format "2006"` is `get 2 . "ContainerCreated" "Format" "2006"`. No text can
/// name it.
pub const GET: &str = "\u{1}get";

/// What every call's answer goes through, see [`value::checked`].
const CHECK: &str = "\u{1}check";

/// What is printed goes through this if the dialect wants it, see [`value::printed`].
const PRINT: &str = "\u{1}print";

/// Each body begins with a call of this, so that nothing repeats or recurs without a charge, see [`super::cost::paid`].
const PAY: &str = "\u{1}pay";

/// What a function of the engine's own gets goes through this, see [`super::cost::weighed`].
const WEIGH: &str = "\u{1}weigh";

/// What `printf` takes for its format goes through this, see [`super::cost::formatted`].
const FORMAT: &str = "\u{1}format";

const PRINTF: &str = "printf";

/// Functions of the engine's own that look at the whole of what they get. Those of ours charge by themselves, see [`super::cost::charging`].
const READERS: [&str; 14] =
    ["call", "eq", "ge", "gt", "html", "index", "js", "le", "lt", "ne", "print", PRINTF, "println", "urlquery"];

/// What sets one use of the language apart from another.
pub trait Dialect {
    /// Whether there is a function; if not, the mistake.
    fn function(&self, name: &str) -> Result<(), String>;

    /// Whether what is printed is printed as Go prints it; if not, as `gotmpl` does, which knows no exponents.
    fn prints(&self) -> bool;
}

/// Put behind a text to see whether the parser arrives there. An action, so that nothing can
/// swallow it; the character keeps it apart from a `{` that the text may end with.
const MARK: &str = "\u{1}{{0}}";

/// Actions a text may have.
///
/// The parser bounds how deep blocks and parentheses nest, but it calls itself for every
/// `{{else if}}` of a chain, and a stack that overflows cannot be caught. The 2 MiB of a thread
/// hold a chain of more than 200 in a debug build, and of more than 1500 in a release build.
const MAX_ACTIONS: usize = 100;

/// Bytes of a text.
const MAX_TEXT: usize = 64 * 1024;

/// A template that parsed, with calls in place of fields.
#[derive(Debug)]
pub struct Parsed {
    body: ListNode,
    defines: Vec<DefineNode>,
}

/// Rewrites a tree in place, and remembers the first mistake it meets.
struct Rewriter<'d> {
    dialect: &'d dyn Dialect,
    mistake: Option<String>,
    /// Variables in scope, `$` apart.
    variables: Vec<SmolStr>,
}

/// Parses a text as Go would.
///
/// # Errors
/// With line, column and cause, of bounded length.
pub fn parse(text: &str, dialect: &dyn Dialect) -> Result<Parsed, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("it has more than {MAX_TEXT} bytes"));
    }
    if text.matches("{{").count() > MAX_ACTIONS {
        let cause = format!("it has more than {MAX_ACTIONS} actions");
        return Err(cause);
    }

    // Once for the mistakes the parser finds by itself, in its words and at their places.
    Template::new("").parse(text).map_err(|error| plain_message(&error))?;

    // And once more with a mark behind: the parser stops at an {{end}} that closes nothing, and
    // takes the end of the text for any {{end}} that is missing.
    let marked = format!("{text}{MARK}");
    let parsed = Parser::new(&marked, "{{", "}}").and_then(Parser::parse);
    let (mut body, mut defines) = parsed.map_err(|error| plain_message(&error))?;
    let is_mark = |node: &Node| matches!(node, Node::Action(action) if action.pos.offset > text.len());
    if !take_mark(&mut body, &is_mark) {
        let bodies = defines.iter().map(|define| &define.body);
        let unclosed = [&body].into_iter().chain(bodies).any(|body| contains(body, &is_mark));
        let cause = if unclosed { "a block is not closed with {{end}}" } else { "an {{end}} or {{else}} has no block" };
        return Err(cause.to_owned());
    }

    let mut rewriter = Rewriter { dialect, mistake: None, variables: Vec::new() };
    let defined = defines.iter_mut().map(|define| &mut define.body);
    for tree in [&mut body].into_iter().chain(defined) {
        // A template sees no variables of another.
        rewriter.variables.clear();
        rewriter.body(tree, false);
    }
    match rewriter.mistake {
        Some(mistake) => Err(clipped(&mistake)),
        None => Ok(Parsed { body, defines }),
    }
}

// === impl Parsed ===

impl Parsed {
    /// Ready to execute as [`MAIN`].
    pub fn with(self, functions: FuncMap) -> Template {
        let mut template = Template::new("").funcs(functions).func(CHECK, value::checked).func(PRINT, value::printed);
        template = template.func(PAY, cost::paid).func(WEIGH, cost::weighed).func(FORMAT, cost::formatted);
        for define in self.defines {
            // Of several bodies the one with something in it counts; two such did not parse.
            if !define.body.is_empty_tree() || template.lookup(&define.name).is_none() {
                template = template.add_parse_tree(&define.name, define.body);
            }
        }
        template.add_parse_tree(MAIN, self.body)
    }
}

// === the mark ===

/// Removes the mark from the end of the body, if it is there.
fn take_mark(body: &mut ListNode, is_mark: &impl Fn(&Node) -> bool) -> bool {
    if !body.nodes.last().is_some_and(is_mark) {
        return false;
    }
    body.nodes.pop();
    if let Some(Node::Text(text)) = body.nodes.last_mut() {
        text.text = Arc::from(text.text.strip_suffix('\u{1}').unwrap_or(&text.text));
    }
    true
}

fn contains(list: &ListNode, is_mark: &impl Fn(&Node) -> bool) -> bool {
    list.nodes.iter().any(|node| match node {
        Node::List(list) => contains(list, is_mark),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
            let bodies = [Some(&branch.body), branch.else_body.as_ref()];
            bodies.into_iter().flatten().any(|body| contains(body, is_mark))
        }
        node => is_mark(node),
    })
}

// === impl Rewriter ===

impl Rewriter<'_> {
    fn mistake(&mut self, mistake: impl Into<String>) {
        self.mistake.get_or_insert_with(|| mistake.into());
    }

    /// A list that may run many times: it begins with a charge for one run of all that stands in it.
    fn body(&mut self, list: &mut ListNode, in_range: bool) {
        if list.is_empty_tree() {
            return;
        }
        let price = Price::of(list);
        self.list(list, in_range);
        let pos = list.pos;
        let arguments = [price.steps, price.bytes];
        let mut pay = call(pos, PAY);
        pay.args
            .extend(arguments.map(|amount| Expr::Number(pos, Number::Int(i64::try_from(amount).unwrap_or(i64::MAX)))));
        let pipe = PipeNode { pos, decl: Vec::new(), commands: vec![pay], is_assign: false };
        // A branch that is never taken prints nothing.
        let body = ListNode { pos, nodes: Vec::new() };
        list.nodes.insert(0, Node::If(BranchNode { pos, pipe, body, else_body: None }));
    }

    fn list(&mut self, list: &mut ListNode, in_range: bool) {
        for node in &mut list.nodes {
            match node {
                Node::List(list) => self.list(list, in_range),
                Node::Action(action) => {
                    self.pipe(&mut action.pipe);
                    if action.pipe.decl.is_empty() && self.dialect.prints() {
                        action.pipe.commands.push(call(action.pos, PRINT));
                    }
                }
                Node::If(branch) | Node::With(branch) => self.branch(branch, in_range, in_range),
                Node::Range(branch) => self.branch(branch, true, in_range),
                Node::Template(call) => {
                    if let Some(pipe) = &mut call.pipe {
                        self.pipe(pipe);
                    }
                }
                Node::Break(_) | Node::Continue(_) if !in_range => {
                    self.mistake("{{break}} or {{continue}} is outside a {{range}}");
                }
                Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }

    fn branch(&mut self, branch: &mut BranchNode, in_body: bool, in_else: bool) {
        let outer = self.variables.len();
        self.pipe(&mut branch.pipe);
        self.body(&mut branch.body, in_body);
        if let Some(body) = &mut branch.else_body {
            self.body(body, in_else);
        }
        self.variables.truncate(outer);
    }

    fn pipe(&mut self, pipe: &mut PipeNode) {
        self.variables.extend(pipe.decl.iter().cloned());
        for mut command in mem::take(&mut pipe.commands) {
            let calls = matches!(command.args.first(), Some(Expr::Identifier(..)));
            let pos = command.pos;
            let takes_format = matches!(&command.args[..], [Expr::Identifier(_, name)] if name == PRINTF);
            if takes_format && !pipe.commands.is_empty() {
                pipe.commands.push(call(pos, FORMAT));
            }
            self.command(&mut command);
            pipe.commands.push(command);
            if calls {
                // A loop around a call could make a value grow without end.
                pipe.commands.push(call(pos, CHECK));
            }
        }
    }

    /// The first word says what to do, and the others are its arguments. If it is a field, they
    /// are the arguments of that field, and so is what comes through the pipe.
    fn command(&mut self, command: &mut CommandNode) {
        let mut words = mem::take(&mut command.args).into_iter();
        let (mut reads, mut formats) = (false, false);
        command.args = match words.next() {
            Some(Expr::Identifier(pos, name)) => {
                self.function(&name);
                reads = READERS.contains(&name.as_str());
                formats = name == PRINTF;
                vec![Expr::Identifier(pos, name)]
            }
            Some(first) => match self.access(first) {
                Ok(call) => call,
                Err(value) => vec![value],
            },
            None => Vec::new(),
        };
        for word in words {
            let held = matches!(&word, Expr::Dot(_) | Expr::Variable(..));
            let word = self.value(word);
            // What a call answers has paid; what is held may be read any number of times.
            let word = if reads && held { through(WEIGH, word) } else { word };
            let is_plain = matches!(&word, Expr::String(_, format) if cost::is_plain(format));
            let is_format = mem::take(&mut formats) && !is_plain;
            command.args.push(if is_format { through(FORMAT, word) } else { word });
        }
    }

    fn function(&mut self, name: &str) {
        if let Err(mistake) = self.dialect.function(name) {
            self.mistake(mistake);
        }
    }

    /// A word that stands for a value.
    fn value(&mut self, word: Expr) -> Expr {
        let pos = word.pos();
        match self.access(word) {
            Ok(call) => pipe_of(pos, call),
            Err(value) => value,
        }
    }

    /// The words of the call that follows a chain of fields, or the word itself when no call follows.
    fn access(&mut self, word: Expr) -> Result<Vec<Expr>, Expr> {
        let (pos, base, fields) = match word {
            Expr::Field(pos, fields) => (pos, Expr::Dot(pos), fields),
            Expr::Variable(pos, name, fields) => {
                if name != "$" && !self.variables.contains(&name) {
                    self.mistake(format!("there is no variable {name}"));
                }
                (pos, Expr::Variable(pos, name, Vec::new()), fields)
            }
            Expr::Chain(pos, base, fields) => (pos, self.value(*base), fields),
            Expr::Identifier(pos, name) => {
                self.function(&name);
                return Err(Expr::Identifier(pos, name));
            }
            Expr::Pipe(pos, mut pipe) => {
                self.pipe(&mut pipe);
                return Err(Expr::Pipe(pos, pipe));
            }
            word => return Err(word),
        };
        if fields.is_empty() {
            return Err(base);
        }
        let length = i64::try_from(fields.len()).unwrap_or(i64::MAX);
        let mut call =
            vec![Expr::Identifier(pos, SmolStr::new_static(GET)), Expr::Number(pos, Number::Int(length)), base];
        call.extend(fields.iter().map(|name| Expr::String(pos, Arc::from(name.as_str()))));
        Ok(call)
    }
}

/// A call of a function without arguments.
fn call(pos: Pos, name: &'static str) -> CommandNode {
    CommandNode { pos, args: vec![Expr::Identifier(pos, SmolStr::new_static(name))] }
}

/// A value that goes through a function.
fn through(name: &'static str, word: Expr) -> Expr {
    let pos = word.pos();
    pipe_of(pos, vec![Expr::Identifier(pos, SmolStr::new_static(name)), word])
}

/// A call as a value: in parentheses, so to speak.
fn pipe_of(pos: Pos, args: Vec<Expr>) -> Expr {
    let pipe = PipeNode { pos, decl: Vec::new(), commands: vec![CommandNode { pos, args }], is_assign: false };
    Expr::Pipe(pos, pipe)
}
