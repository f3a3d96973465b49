//! Evaluates the expressions of a template.

use std::rc::Rc;

use minijinja::machinery::ast::{
    BinOp, BinOpKind, Call, CallArg, CompareOpKind, Const, Expr, Filter, UnaryOpKind,
};
use minijinja::value::ValueKind;

use super::{
    Failure,
    arguments::Arguments,
    failure, functions,
    interpreter::Interpreter,
    operators,
    text::{Origin, Text},
    value::Value,
};

impl<'t> Interpreter<'t> {
    /// The value of an expression.
    ///
    /// # Errors
    /// What it does wrong, or that it costs too much.
    pub fn eval(&mut self, expression: &'t Expr<'t>) -> Result<Value, Failure> {
        self.budget.steps(1)?;
        self.nested(|this| this.evaluate(expression))
    }

    fn evaluate(&mut self, expression: &'t Expr<'t>) -> Result<Value, Failure> {
        match expression {
            Expr::Var(name) => self.lookup(name.id),
            Expr::Const(constant) => self.constant(constant),
            Expr::BinOp(first) => self.binary(first),
            Expr::UnaryOp(unary) => {
                let value = self.eval(&unary.expr)?;
                match unary.op {
                    UnaryOpKind::Not => Ok(Value::Bool(!value.is_true())),
                    UnaryOpKind::Neg => operators::negative(&value),
                }
            }
            Expr::Compare(chain) => {
                let mut left = self.eval(&chain.expr)?;
                for link in &chain.ops {
                    let right = self.eval(&link.expr)?;
                    if !operators::compare(link.op, &left, &right, &self.budget)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::IfExpr(choice) => {
                if self.eval(&choice.test_expr)?.is_true() {
                    self.eval(&choice.true_expr)
                } else {
                    choice.false_expr.as_ref().map_or(Ok(Value::Undefined), |e| self.eval(e))
                }
            }
            Expr::Filter(filter) => {
                let value = filter.expr.as_ref().map_or(Ok(Value::Undefined), |e| self.eval(e))?;
                let arguments = self.arguments(&filter.args)?;
                self.filter(filter.name, value, arguments)
            }
            Expr::Test(test) => {
                let value = self.eval(&test.expr)?;
                let arguments = self.arguments(&test.args)?;
                self.check(test.name, &value, arguments).map(Value::Bool)
            }
            Expr::GetAttr(get) => {
                let value = self.eval(&get.expr)?;
                functions::attribute(&value, get.name, &self.budget)
            }
            Expr::GetItem(get) => {
                let value = self.eval(&get.expr)?;
                let key = self.eval(&get.subscript_expr)?;
                functions::item(&value, &key, &self.budget)
            }
            Expr::Slice(slice) => {
                let value = self.eval(&slice.expr)?;
                let mut bound = |e: &'t Option<Expr<'t>>| match e {
                    None => Ok(None),
                    Some(e) => match self.eval(e)? {
                        Value::None => Ok(None),
                        value => value
                            .int()
                            .map(Some)
                            .ok_or_else(|| failure(format!("{} cannot bound a slice", value.kind()))),
                    },
                };
                let bounds = [bound(&slice.start)?, bound(&slice.stop)?, bound(&slice.step)?];
                functions::slice(&value, bounds, &self.budget)
            }
            Expr::Call(call) => {
                let arguments = self.arguments(&call.args)?;
                self.call(call, arguments)
            }
            Expr::List(list) => {
                let items = self.all(&list.items)?;
                Value::list(items, false, &self.budget)
            }
            Expr::Tuple(tuple) => {
                let items = self.all(&tuple.items)?;
                Value::list(items, true, &self.budget)
            }
            Expr::Map(map) => {
                let (keys, values) = (self.all(&map.keys)?, self.all(&map.values)?);
                Value::map(keys.into_iter().zip(values).collect(), &self.budget)
            }
        }
    }

    fn all(&mut self, expressions: &'t [Expr<'t>]) -> Result<Vec<Value>, Failure> {
        expressions.iter().map(|e| self.eval(e)).collect()
    }

    fn constant(&self, constant: &Const) -> Result<Value, Failure> {
        let value = &constant.value;
        Ok(match value.kind() {
            ValueKind::None => Value::None,
            ValueKind::Bool => Value::Bool(value.is_true()),
            ValueKind::Number if value.is_integer() => {
                let int = i128::try_from(value.clone());
                Value::Int(int.map_err(|_| failure("an integer is too large".into()))?, Origin::Template)
            }
            ValueKind::Number => {
                let float = f64::try_from(value.clone());
                Value::Float(float.map_err(|_| failure("a number is no number".into()))?, Origin::Template)
            }
            ValueKind::String => {
                Value::Text(Text::new(value.as_str().unwrap_or_default(), Origin::Template, &self.budget)?)
            }
            _ => return Err(failure("a constant of an unknown kind".into())),
        })
    }

    /// `a + b + c` is parsed as a chain to the left, as long as the template likes: a loop, not a recursion.
    fn binary(&mut self, outer: &'t BinOp<'t>) -> Result<Value, Failure> {
        let mut chain = vec![outer];
        let mut first = &outer.left;
        while let Expr::BinOp(inner) = first {
            chain.push(inner);
            first = &inner.left;
        }
        let mut value = self.eval(first)?;
        for link in chain.into_iter().rev() {
            self.budget.steps(1)?;
            value = match link.op {
                BinOpKind::ScAnd if !value.is_true() => value,
                BinOpKind::ScOr if value.is_true() => value,
                BinOpKind::ScAnd | BinOpKind::ScOr => self.eval(&link.right)?,
                op => {
                    let right = self.eval(&link.right)?;
                    let comparison = match op {
                        BinOpKind::Eq => Some(CompareOpKind::Eq),
                        BinOpKind::Ne => Some(CompareOpKind::Ne),
                        BinOpKind::Lt => Some(CompareOpKind::Lt),
                        BinOpKind::Lte => Some(CompareOpKind::Lte),
                        BinOpKind::Gt => Some(CompareOpKind::Gt),
                        BinOpKind::Gte => Some(CompareOpKind::Gte),
                        BinOpKind::In => Some(CompareOpKind::In),
                        _ => None,
                    };
                    match comparison {
                        Some(op) => Value::Bool(operators::compare(op, &value, &right, &self.budget)?),
                        None => operators::binary(op, &value, &right, &self.budget)?,
                    }
                }
            };
        }
        Ok(value)
    }

    /// The value of a chain of filters over a block's text.
    pub fn filtered(&mut self, chain: Option<&'t Expr<'t>>, text: Value) -> Result<Value, Failure> {
        let Some(Expr::Filter(filter)) = chain else { return Ok(text) };
        let filter: &'t Filter<'t> = filter;
        self.nested(|this| {
            let inner = this.filtered(filter.expr.as_ref(), text)?;
            let arguments = this.arguments(&filter.args)?;
            this.filter(filter.name, inner, arguments)
        })
    }

    pub fn arguments(&mut self, args: &'t [CallArg<'t>]) -> Result<Arguments<'t>, Failure> {
        let mut arguments = Arguments::default();
        for arg in args {
            match arg {
                CallArg::Pos(e) => arguments.push(self.eval(e)?),
                CallArg::Kwarg(name, e) => arguments.named(*name, self.eval(e)?),
                CallArg::PosSplat(e) => {
                    let items = self.eval(e)?.items(&self.budget)?;
                    self.budget.steps(items.items.len())?;
                    items.items.iter().for_each(|item| arguments.push(item.clone()));
                }
                CallArg::KwargSplat(e) => {
                    let Value::Map(map) = self.eval(e)? else {
                        return Err(failure("** needs a dictionary".into()));
                    };
                    self.budget.steps(map.entries.len())?;
                    for (key, value) in &map.entries {
                        arguments.named(key.to_text(&self.budget)?.as_str().to_owned(), value.clone());
                    }
                }
            }
        }
        Ok(arguments)
    }

    /// Calls a function, a macro or a method.
    pub fn call(&mut self, call: &'t Call<'t>, arguments: Arguments<'t>) -> Result<Value, Failure> {
        let (callee, name) = match &call.expr {
            Expr::GetAttr(attribute) => {
                let object = self.eval(&attribute.expr)?;
                let own = match &object {
                    Value::Map(map) => map.named(attribute.name, &self.budget)?.cloned(),
                    Value::Namespace(_) => Some(functions::attribute(&object, attribute.name, &self.budget)?),
                    _ => None,
                };
                match own.filter(|own| matches!(own, Value::Macro(_) | Value::Function(_))) {
                    Some(own) => (own, attribute.name),
                    None => return self.method(&object, attribute.name, arguments),
                }
            }
            Expr::Var(name) => (self.lookup(name.id)?, name.id),
            other => (self.eval(other)?, "the value"),
        };
        match callee {
            Value::Macro(number) => self.call_macro(number, arguments),
            Value::Function(function) => self.function(function, arguments),
            Value::Undefined => Err(failure(format!("{name} is undefined"))),
            other => Err(failure(format!("{name} is {}, not a function", other.kind()))),
        }
    }

    /// Whether two values are the same object, as far as a template can tell.
    pub fn same(&self, a: &Value, b: &Value) -> Result<bool, Failure> {
        match (a, b) {
            (Value::List(a), Value::List(b)) => Ok(Rc::ptr_eq(a, b)),
            (Value::Map(a), Value::Map(b)) => Ok(Rc::ptr_eq(a, b)),
            // Each look-up makes another one.
            (Value::Undefined, Value::Undefined) => Ok(false),
            (Value::Bool(_), Value::Bool(_)) => a.equals(b, &self.budget),
            (Value::Bool(_), _) | (_, Value::Bool(_)) => Ok(false),
            _ => a.equals(b, &self.budget),
        }
    }
}
