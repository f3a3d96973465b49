//! Global functions, and the parts of values.

use std::{cell::RefCell, rc::Rc};

use super::{
    Failure,
    arguments::Arguments,
    budget::Budget,
    date, failure,
    interpreter::Interpreter,
    text::{Builder, Origin, Text},
    value::{Function, Namespace, Value, room_for},
};

impl<'t> Interpreter<'t> {
    /// Calls a global function.
    ///
    /// # Errors
    /// What it raises.
    pub fn function(&mut self, function: Function, mut args: Arguments<'t>) -> Result<Value, Failure> {
        match function {
            Function::RaiseException => {
                Err(failure(args.required("message")?.to_text(&self.budget)?.as_str().into()))
            }
            Function::StrftimeNow => {
                let format = args.text("format")?;
                args.done("strftime_now")?;
                let Some(now) = self.now else { return Err(failure("there is no clock".into())) };
                self.budget.bytes(format.as_str().len() * 8)?;
                let mut out = Builder::new(&self.budget)?;
                date::strftime(&format, now, &mut out)?;
                Ok(Value::Text(out.finish()))
            }
            Function::Range => {
                let first = args.int("start")?.ok_or_else(|| failure("range needs a number".into()))?;
                let (start, stop) = match args.int("stop")? {
                    Some(stop) => (first, stop),
                    None => (0, first),
                };
                let step = args.int("step")?.unwrap_or(1);
                args.done("range")?;
                if step == 0 {
                    return Err(failure("the step of a range is zero".into()));
                }
                let span = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
                let count = (span.max(0) as u128).div_ceil(step.unsigned_abs());
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                drop(room_for(count, &self.budget)?);
                let item = |i: usize| Value::Int(start + i as i128 * step, Origin::Template);
                Value::list((0..count).map(item).collect(), false, &self.budget)
            }
            Function::Dict => {
                let mut pairs = match args.given("mapping") {
                    Some(Value::Map(map)) => map.entries.clone(),
                    Some(other) => return Err(failure(format!("dict of {} is not supported", other.kind()))),
                    None => Vec::new(),
                };
                for (name, value) in args.rest().1 {
                    pairs.push((Value::Text(Text::new(&name, Origin::Template, &self.budget)?), value));
                }
                Value::map(pairs, &self.budget)
            }
            Function::Namespace => {
                let mut held = self.budget.hold(size_of::<Namespace>())?;
                let mut names = Vec::new();
                let mut add = |name: Text, value: Value| {
                    value.can_be_held()?;
                    held.grow(size_of::<(Text, Value)>())?;
                    names.push((name, value));
                    Ok::<_, Failure>(())
                };
                match args.given("mapping") {
                    None => {}
                    Some(Value::Map(map)) => {
                        for (key, value) in &map.entries {
                            add(key.to_text(&self.budget)?, value.clone())?;
                        }
                    }
                    Some(other) => {
                        return Err(failure(format!("namespace of {} is not supported", other.kind())));
                    }
                }
                for (name, value) in args.rest().1 {
                    add(Text::new(&name, Origin::Template, &self.budget)?, value)?;
                }
                let (names, held) = (RefCell::new(names), RefCell::new(held));
                Ok(Value::Namespace(Rc::new(Namespace { names, held })))
            }
        }
    }
}

/// `value.name`
pub(super) fn attribute(value: &Value, name: &str, budget: &Rc<Budget>) -> Result<Value, Failure> {
    budget.steps(1)?;
    let number = |n: usize| Value::Int(n as i128, Origin::Template);
    Ok(match value {
        Value::Undefined => return Err(failure(format!("an undefined value has no `{name}`"))),
        Value::Map(map) => map.named(name, budget)?.cloned().unwrap_or(Value::Undefined),
        Value::Namespace(namespace) => {
            let names = namespace.names.borrow();
            budget.steps(names.len() / 16)?;
            let found = names.iter().find(|(known, _)| known.as_str() == name);
            found.map_or(Value::Undefined, |(_, value)| value.clone())
        }
        Value::Loop(state) => {
            let (index, items) = (state.index.get(), &state.items.items);
            let at = |i: Option<usize>| i.and_then(|i| items.get(i)).cloned().unwrap_or(Value::Undefined);
            match name {
                "index" => number(index + 1),
                "index0" => number(index),
                "revindex" => number(items.len() - index),
                "revindex0" => number(items.len() - index - 1),
                "length" => number(items.len()),
                "first" => Value::Bool(index == 0),
                "last" => Value::Bool(index + 1 == items.len()),
                "previtem" => at(index.checked_sub(1)),
                "nextitem" => at(Some(index + 1)),
                "depth" => number(1),
                "depth0" => number(0),
                _ => Value::Undefined,
            }
        }
        _ => Value::Undefined,
    })
}

/// `value[key]`
pub(super) fn item(value: &Value, key: &Value, budget: &Rc<Budget>) -> Result<Value, Failure> {
    match (value, key) {
        (Value::Map(map), _) => Ok(map.get(key, budget)?.cloned().unwrap_or(Value::Undefined)),
        (Value::List(list), _) if key.int().is_some() => {
            let at = index(key.int().unwrap_or(0), list.items.len());
            Ok(at.and_then(|at| list.items.get(at)).cloned().unwrap_or(Value::Undefined))
        }
        (Value::Text(text), _) if key.int().is_some() => {
            budget.bytes(text.as_str().len())?;
            let at = index(key.int().unwrap_or(0), text.as_str().chars().count());
            let found = at.and_then(|at| text.as_str().char_indices().nth(at));
            Ok(found.map_or(Value::Undefined, |(at, c)| Value::Text(text.slice(at..at + c.len_utf8()))))
        }
        (_, Value::Text(name)) => attribute(value, name.as_str(), budget),
        (Value::Undefined, _) => Err(failure("an undefined value has no items".into())),
        _ => Ok(Value::Undefined),
    }
}

/// Python's index: negative ones count from the end.
fn index(at: i128, len: usize) -> Option<usize> {
    usize::try_from(if at < 0 { at + len as i128 } else { at }).ok()
}

/// `value[start:stop:step]`
pub(super) fn slice(
    value: &Value,
    [start, stop, step]: [Option<i128>; 3],
    budget: &Rc<Budget>,
) -> Result<Value, Failure> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(failure("the step of a slice is zero".into()));
    }
    // As Python has it: bounds are clipped, and count from the end where negative.
    let bounds = |len: usize| {
        let len = len as i128;
        let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let clip = |bound: Option<i128>, default: i128| match bound {
            None => default,
            Some(b) if b < 0 => b.saturating_add(len).clamp(low, high),
            Some(b) => b.clamp(low, high),
        };
        if step > 0 { (clip(start, low), clip(stop, high)) } else { (clip(start, high), clip(stop, low)) }
    };
    match value {
        Value::Text(text) => {
            budget.bytes(text.as_str().len() * 2)?;
            let (from, to) = bounds(text.as_str().chars().count());
            let mut at = text.as_str().char_indices().map(|(at, _)| at);
            if step == 1 {
                let Some(from) = at.nth(from as usize) else { return Ok(Value::Text(text.slice(0..0))) };
                let end = text.as_str().char_indices().map(|(at, _)| at).nth(to.max(0) as usize);
                return Ok(Value::Text(text.slice(from..end.unwrap_or(text.as_str().len()))));
            }
            let chars = text.as_str().chars().count();
            let room = budget.hold(chars * size_of::<(char, Origin)>())?;
            let chars: Vec<_> = text.chars().collect();
            let mut out = Builder::new(budget)?;
            for at in steps(from, to, step) {
                let (c, origin) = chars[at];
                out.push_char(c, origin)?;
            }
            drop(room);
            Ok(Value::Text(out.finish()))
        }
        Value::List(list) => {
            let (from, to) = bounds(list.items.len());
            let items = steps(from, to, step).map(|at| list.items[at].clone()).collect();
            Value::list(items, list.tuple, budget)
        }
        _ => Err(failure(format!("{} has no slices", value.kind()))),
    }
}

/// The indices of a slice whose bounds are clipped.
fn steps(from: i128, to: i128, step: i128) -> impl Iterator<Item = usize> {
    let inside = move |at: &i128| if step > 0 { *at < to } else { *at > to };
    std::iter::successors(Some(from), move |at| at.checked_add(step))
        .take_while(inside)
        .map(|at| usize::try_from(at).unwrap_or(0))
}
