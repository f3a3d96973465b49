//! Runs the statements of a template.
//!
//! The library parses; what it parsed is run here, because its own machine knows neither where text came from
//! nor what a filter costs. Names are looked up as in Jinja: a loop, a macro and a `with` block have a scope of
//! their own, an `if` has not.

use std::{cell::RefCell, rc::Rc};

use minijinja::machinery::ast::{self, Expr, Stmt};

use super::{
    Failure,
    arguments::Arguments,
    budget::{Budget, Held},
    failure,
    text::{Builder, Text},
    value::{Function, List, Loop, Value},
};

/// Expressions and blocks inside each other, macros that call each other included: the stack of a browser's
/// worker has a megabyte.
const MAX_DEPTH: usize = 120;

/// How a block of statements ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Continue,
    Break,
}

type Scope<'t> = Vec<(&'t str, Value)>;

struct Macro<'t> {
    declaration: &'t ast::Macro<'t>,
    /// What the scopes around it held when it was declared.
    closure: Scope<'t>,
    _held: Held,
}

pub(super) struct Interpreter<'t> {
    pub budget: Rc<Budget>,
    /// The variables that the caller gave.
    variables: Vec<(String, Value)>,
    scopes: Vec<Scope<'t>>,
    /// The first scope of the macro that runs. Only that of the template itself is seen beside its own.
    base: usize,
    macros: Vec<Macro<'t>>,
    /// Where text goes: the last one counts.
    outputs: Vec<Builder>,
    depth: usize,
    pub now: Option<i64>,
}

impl<'t> Interpreter<'t> {
    pub fn new(budget: &Rc<Budget>, variables: Vec<(String, Value)>, now: Option<i64>) -> Self {
        Self {
            budget: Rc::clone(budget),
            variables,
            scopes: vec![Scope::new()],
            base: 0,
            macros: Vec::new(),
            outputs: vec![Builder::output(budget)],
            depth: 0,
            now,
        }
    }

    /// What the template prints.
    ///
    /// # Errors
    /// What the template raises, or does wrong, or that it costs too much.
    pub fn run(mut self, template: &'t Stmt<'t>) -> Result<Builder, Failure> {
        let Stmt::Template(template) = template else { return Err(failure("it is no template".into())) };
        self.block(&template.children)?;
        self.outputs.pop().ok_or_else(|| failure("it has no output".into()))
    }

    /// Runs `f` one level deeper.
    pub fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.depth >= MAX_DEPTH {
            return Err(failure(format!("it is nested more than {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    fn block(&mut self, statements: &'t [Stmt<'t>]) -> Result<Flow, Failure> {
        self.nested(|this| {
            for statement in statements {
                let flow = this.statement(statement).map_err(|f| f.at(line(statement)))?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
            }
            Ok(Flow::Next)
        })
    }

    fn statement(&mut self, statement: &'t Stmt<'t>) -> Result<Flow, Failure> {
        self.budget.steps(1)?;
        match statement {
            Stmt::EmitRaw(raw) => self.output()?.push(raw.raw, super::Origin::Template)?,
            Stmt::EmitExpr(emit) => {
                let value = self.eval(&emit.expr)?;
                value.write(self.output()?)?;
            }
            Stmt::IfCond(condition) => {
                let holds = self.eval(&condition.expr)?.is_true();
                return self.block(if holds { &condition.true_body } else { &condition.false_body });
            }
            Stmt::ForLoop(for_loop) => return self.for_loop(for_loop),
            Stmt::Set(set) => {
                let value = self.eval(&set.expr)?;
                self.assign(&set.target, value)?;
            }
            Stmt::SetBlock(set) => {
                let text = self.capture(Scope::new(), &set.body)?;
                let value = self.filtered(set.filter.as_ref(), Value::Text(text))?;
                self.assign(&set.target, value)?;
            }
            Stmt::FilterBlock(block) => {
                let text = self.capture(Scope::new(), &block.body)?;
                let value = self.filtered(Some(&block.filter), Value::Text(text))?;
                value.write(self.output()?)?;
            }
            Stmt::WithBlock(with) => {
                self.scopes.push(Scope::new());
                let result = self.with_block(with);
                self.scopes.pop();
                return result;
            }
            Stmt::AutoEscape(_) => return Err(failure("autoescape blocks are not supported".into())),
            Stmt::Macro(declaration) => {
                let value = self.declare(declaration)?;
                self.set(declaration.name, value)?;
            }
            Stmt::CallBlock(call) => {
                let caller = self.declare(&call.macro_decl)?;
                let mut arguments = self.arguments(&call.call.args)?;
                arguments.named("caller", caller);
                let value = self.call(&call.call, arguments)?;
                value.write(self.output()?)?;
            }
            Stmt::Do(call) => {
                let arguments = self.arguments(&call.call.args)?;
                self.call(&call.call, arguments)?;
            }
            Stmt::Continue(_) => return Ok(Flow::Continue),
            Stmt::Break(_) => return Ok(Flow::Break),
            Stmt::Template(_) => return Err(failure("a template is inside another".into())),
        }
        Ok(Flow::Next)
    }

    fn output(&mut self) -> Result<&mut Builder, Failure> {
        self.outputs.last_mut().ok_or_else(|| failure("it has no output".into()))
    }

    fn with_block(&mut self, with: &'t ast::WithBlock<'t>) -> Result<Flow, Failure> {
        for (target, expression) in &with.assignments {
            let value = self.eval(expression)?;
            self.assign(target, value)?;
        }
        self.block(&with.body)
    }

    fn for_loop(&mut self, for_loop: &'t ast::ForLoop<'t>) -> Result<Flow, Failure> {
        if for_loop.recursive {
            return Err(failure("recursive loops are not supported".into()));
        }
        let mut items = self.eval(&for_loop.iter)?.items(&self.budget)?;
        self.scopes.push(Scope::new());
        let result = self.for_items(for_loop, &mut items);
        self.scopes.pop();
        let flow = result?;
        if items.items.is_empty() {
            return self.block(&for_loop.else_body);
        }
        Ok(flow)
    }

    /// `items` become those that pass the loop's condition.
    fn for_items(&mut self, for_loop: &'t ast::ForLoop<'t>, items: &mut Rc<List>) -> Result<Flow, Failure> {
        if let Some(filter) = &for_loop.filter_expr {
            let mut passed = Vec::new();
            for item in &items.items {
                self.assign(&for_loop.target, item.clone())?;
                if self.eval(filter)?.is_true() {
                    passed.push(item.clone());
                }
            }
            *items = Rc::new(List::new(passed, false, &self.budget)?);
        }
        let state = Rc::new(Loop { items: Rc::clone(items), index: 0.into(), changed: RefCell::default() });
        for (index, item) in items.items.iter().enumerate() {
            self.budget.steps(1)?;
            if let Some(scope) = self.scopes.last_mut() {
                scope.clear();
                scope.push(("loop", Value::Loop(Rc::clone(&state))));
            }
            state.index.set(index);
            self.assign(&for_loop.target, item.clone())?;
            if self.block(&for_loop.body)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// What a block prints, in a scope of its own.
    fn capture(&mut self, scope: Scope<'t>, body: &'t [Stmt<'t>]) -> Result<Text, Failure> {
        let output = Builder::new(&self.budget)?;
        self.outputs.push(output);
        self.scopes.push(scope);
        let result = self.block(body);
        self.scopes.pop();
        let output = self.outputs.pop();
        result?;
        output.map(Builder::finish).ok_or_else(|| failure("it has no output".into()))
    }

    fn set(&mut self, name: &'t str, value: Value) -> Result<(), Failure> {
        let Some(scope) = self.scopes.last_mut() else { return Ok(()) };
        self.budget.steps(scope.len() / 16)?;
        match scope.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = value,
            None => scope.push((name, value)),
        }
        Ok(())
    }

    fn assign(&mut self, target: &'t Expr<'t>, value: Value) -> Result<(), Failure> {
        match target {
            Expr::Var(name) => self.set(name.id, value),
            Expr::List(targets) => {
                let values = value.items(&self.budget)?;
                if values.items.len() != targets.items.len() {
                    return Err(failure(format!(
                        "{} values cannot be unpacked into {} names",
                        values.items.len(),
                        targets.items.len()
                    )));
                }
                for (target, value) in targets.items.iter().zip(&values.items) {
                    self.nested(|this| this.assign(target, value.clone()))?;
                }
                Ok(())
            }
            Expr::GetAttr(attribute) => {
                let Value::Namespace(namespace) = self.eval(&attribute.expr)? else {
                    return Err(failure(format!(
                        "only a namespace's attribute can be set ({})",
                        attribute.name
                    )));
                };
                value.can_be_held()?;
                let mut names = namespace.names.borrow_mut();
                self.budget.steps(1 + names.len() / 16)?;
                match names.iter_mut().find(|(name, _)| name.as_str() == attribute.name) {
                    Some(slot) => slot.1 = value,
                    None => {
                        namespace.held.borrow_mut().grow(size_of::<(Text, Value)>())?;
                        names
                            .push((Text::new(attribute.name, super::Origin::Template, &self.budget)?, value));
                    }
                }
                Ok(())
            }
            _ => Err(failure("that cannot be assigned to".into())),
        }
    }

    /// The value of a name.
    pub fn lookup(&self, name: &str) -> Result<Value, Failure> {
        self.budget.steps(1)?;
        let inner = self.scopes[self.base..].iter().rev();
        for scope in inner.chain(self.scopes.first()) {
            self.budget.steps(scope.len() / 16)?;
            if let Some((_, value)) = scope.iter().find(|(known, _)| *known == name) {
                return Ok(value.clone());
            }
        }
        if let Some((_, value)) = self.variables.iter().find(|(known, _)| known == name) {
            return Ok(value.clone());
        }
        Ok(match name {
            "range" => Value::Function(Function::Range),
            "dict" => Value::Function(Function::Dict),
            "namespace" => Value::Function(Function::Namespace),
            "raise_exception" => Value::Function(Function::RaiseException),
            "strftime_now" if self.now.is_some() => Value::Function(Function::StrftimeNow),
            _ => Value::Undefined,
        })
    }

    fn declare(&mut self, declaration: &'t ast::Macro<'t>) -> Result<Value, Failure> {
        let mut closure = Scope::new();
        for scope in &self.scopes[self.base.max(1)..] {
            closure.extend(scope.iter().cloned());
        }
        let held =
            self.budget.hold(size_of::<Macro<'_>>() + closure.capacity() * size_of::<(&str, Value)>())?;
        self.macros.push(Macro { declaration, closure, _held: held });
        Ok(Value::Macro(self.macros.len() - 1))
    }

    /// Calls a macro.
    pub fn call_macro(&mut self, number: usize, mut arguments: Arguments<'t>) -> Result<Value, Failure> {
        let Some(found) = self.macros.get(number) else {
            return Err(failure("there is no such macro".into()));
        };
        let declaration = found.declaration;
        // What is declared later hides what is declared before.
        let mut closure: Scope<'t> = found.closure.iter().rev().cloned().collect();
        self.budget.steps(1 + closure.len())?;
        if let Some(caller) = arguments.take_named("caller") {
            closure.insert(0, ("caller", caller));
        }
        let (base, scopes) = (self.base, self.scopes.len());
        self.base = scopes;
        self.scopes.push(closure);
        self.scopes.push(Scope::new());
        let result = self.nested(|this| {
            let first_default = declaration.args.len() - declaration.defaults.len();
            for (i, argument) in declaration.args.iter().enumerate() {
                let Expr::Var(name) = argument else { return Err(failure("an argument has no name".into())) };
                let default = i.checked_sub(first_default).and_then(|i| declaration.defaults.get(i));
                let value = match (arguments.take(name.id), default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => this.eval(default)?,
                    (None, None) => Value::Undefined,
                };
                this.set(name.id, value)?;
            }
            arguments.done(declaration.name)?;
            this.capture(Scope::new(), &declaration.body)
        });
        self.scopes.truncate(scopes);
        self.base = base;
        result.map(Value::Text)
    }
}

fn line(statement: &Stmt<'_>) -> u16 {
    match statement {
        Stmt::Template(s) => s.span(),
        Stmt::EmitExpr(s) => s.span(),
        Stmt::EmitRaw(s) => s.span(),
        Stmt::ForLoop(s) => s.span(),
        Stmt::IfCond(s) => s.span(),
        Stmt::WithBlock(s) => s.span(),
        Stmt::Set(s) => s.span(),
        Stmt::SetBlock(s) => s.span(),
        Stmt::AutoEscape(s) => s.span(),
        Stmt::FilterBlock(s) => s.span(),
        Stmt::Macro(s) => s.span(),
        Stmt::CallBlock(s) => s.span(),
        Stmt::Continue(s) => s.span(),
        Stmt::Break(s) => s.span(),
        Stmt::Do(s) => s.span(),
    }
    .start_line
}
