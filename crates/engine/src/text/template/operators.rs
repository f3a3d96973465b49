//! Python's operators.

use std::{cmp::Ordering, rc::Rc};

use minijinja::machinery::ast::{BinOpKind, CompareOpKind};

use super::{
    Failure,
    budget::Budget,
    failure, format,
    text::{Builder, Origin},
    value::{Value, room_for},
};

fn overflow() -> Failure {
    failure("an integer is too large".into())
}

pub(super) fn negative(value: &Value) -> Result<Value, Failure> {
    match value {
        Value::Float(f, origin) => Ok(Value::Float(-f, *origin)),
        _ => match value.int() {
            Some(i) => Ok(Value::Int(i.checked_neg().ok_or_else(overflow)?, value.origin())),
            None => Err(failure(format!("{} cannot be negated", value.kind()))),
        },
    }
}

pub(super) fn compare(op: CompareOpKind, a: &Value, b: &Value, budget: &Budget) -> Result<bool, Failure> {
    Ok(match op {
        CompareOpKind::Eq => a.equals(b, budget)?,
        CompareOpKind::Ne => !a.equals(b, budget)?,
        CompareOpKind::Lt => a.order(b, budget)? == Ordering::Less,
        CompareOpKind::Lte => a.order(b, budget)? != Ordering::Greater,
        CompareOpKind::Gt => a.order(b, budget)? == Ordering::Greater,
        CompareOpKind::Gte => a.order(b, budget)? != Ordering::Less,
        CompareOpKind::In => contains(b, a, budget)?,
        CompareOpKind::NotIn => !contains(b, a, budget)?,
    })
}

/// Whether `item` is in `container`.
pub(super) fn contains(container: &Value, item: &Value, budget: &Budget) -> Result<bool, Failure> {
    match (container, item) {
        (Value::Text(text), Value::Text(part)) => {
            budget.bytes(text.as_str().len() + part.as_str().len())?;
            Ok(text.as_str().contains(part.as_str()))
        }
        (Value::Map(map), _) => Ok(map.get(item, budget)?.is_some()),
        (Value::List(list), _) => {
            for known in &list.items {
                if known.equals(item, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Undefined, _) => Ok(false),
        _ => Err(failure(format!("{} cannot contain {}", container.kind(), item.kind()))),
    }
}

pub(super) fn binary(op: BinOpKind, a: &Value, b: &Value, budget: &Rc<Budget>) -> Result<Value, Failure> {
    match (op, a, b) {
        (BinOpKind::Concat, ..) => {
            let mut out = Builder::new(budget)?;
            a.write(&mut out)?;
            b.write(&mut out)?;
            return Ok(Value::Text(out.finish()));
        }
        (BinOpKind::Add, Value::Text(a), Value::Text(b)) => {
            let mut out = Builder::new(budget)?;
            out.push_text(a)?;
            out.push_text(b)?;
            return Ok(Value::Text(out.finish()));
        }
        (BinOpKind::Add, Value::List(a), Value::List(b)) => {
            let items = a.items.len() + b.items.len();
            let room = room_for(items, budget)?;
            let joined = a.items.iter().chain(&b.items).cloned().collect();
            drop(room);
            return Value::list(joined, a.tuple && b.tuple, budget);
        }
        (BinOpKind::Rem, Value::Text(pattern), _) => {
            return format::percent(pattern, b, budget).map(Value::Text);
        }
        (BinOpKind::Mul, Value::Text(_) | Value::List(_), _) if b.int().is_some() => {
            return repeat(a, b.int().unwrap_or(0), budget);
        }
        (BinOpKind::Mul, _, Value::Text(_) | Value::List(_)) if a.int().is_some() => {
            return repeat(b, a.int().unwrap_or(0), budget);
        }
        _ => {}
    }
    let origin = a.origin().max(b.origin());
    if let (Some(a), Some(b)) = (a.int(), b.int())
        && let Some(result) = integers(op, a, b)?
    {
        return Ok(Value::Int(result, origin));
    }
    let (Some(x), Some(y)) = (a.float(), b.float()) else {
        return Err(failure(format!("{} {} {} is not defined", a.kind(), sign(op), b.kind())));
    };
    if y == 0.0 && matches!(op, BinOpKind::Div | BinOpKind::FloorDiv | BinOpKind::Rem) {
        return Err(failure("division by zero".into()));
    }
    Ok(Value::Float(
        match op {
            BinOpKind::Add => x + y,
            BinOpKind::Sub => x - y,
            BinOpKind::Mul => x * y,
            BinOpKind::Div => x / y,
            BinOpKind::FloorDiv => (x / y).floor(),
            BinOpKind::Rem => x - y * (x / y).floor(),
            BinOpKind::Pow => x.powf(y),
            _ => return Err(failure(format!("{} is not arithmetic", sign(op)))),
        },
        origin,
    ))
}

/// Arithmetic that stays among the integers.
fn integers(op: BinOpKind, a: i128, b: i128) -> Result<Option<i128>, Failure> {
    let result = match op {
        BinOpKind::Add => a.checked_add(b),
        BinOpKind::Sub => a.checked_sub(b),
        BinOpKind::Mul => a.checked_mul(b),
        BinOpKind::FloorDiv | BinOpKind::Rem if b == 0 => return Err(failure("division by zero".into())),
        // Python rounds down, and the remainder has the sign of the divisor.
        BinOpKind::FloorDiv => {
            a.checked_div(b).map(|q| if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
        }
        BinOpKind::Rem => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        BinOpKind::Pow if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        _ => return Ok(None),
    };
    result.map(Some).ok_or_else(overflow)
}

fn repeat(value: &Value, count: i128, budget: &Rc<Budget>) -> Result<Value, Failure> {
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    match value {
        Value::Text(text) => {
            let mut out = Builder::new(budget)?;
            out.repeat(text, count)?;
            Ok(Value::Text(out.finish()))
        }
        Value::List(list) => {
            drop(room_for(list.items.len().saturating_mul(count), budget)?);
            let count = if list.items.is_empty() { 0 } else { count };
            let items = std::iter::repeat_n(&list.items, count).flatten().cloned().collect();
            Value::list(items, list.tuple, budget)
        }
        _ => Err(failure(format!("{} cannot be repeated", value.kind()))),
    }
}

fn sign(op: BinOpKind) -> &'static str {
    match op {
        BinOpKind::Add => "+",
        BinOpKind::Sub => "-",
        BinOpKind::Mul => "*",
        BinOpKind::Div => "/",
        BinOpKind::FloorDiv => "//",
        BinOpKind::Rem => "%",
        BinOpKind::Pow => "**",
        _ => "that operator",
    }
}

/// The sum of numbers, as the filter has it.
pub(super) fn sum(items: &[Value], start: Value, budget: &Rc<Budget>) -> Result<Value, Failure> {
    items.iter().try_fold(start, |sum, item| binary(BinOpKind::Add, &sum, item, budget))
}

/// Zero, for sums.
pub(super) const ZERO: Value = Value::Int(0, Origin::Template);
