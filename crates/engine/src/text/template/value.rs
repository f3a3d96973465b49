//! What a template computes with: Python's values, as far as templates need them.

use std::{
    cell::{Cell, RefCell},
    cmp::Ordering,
    rc::Rc,
};

use super::{
    Failure,
    budget::{Budget, Held},
    failure,
    text::{Origin, Text},
};

/// Lists and dictionaries inside each other. What recurses over values relies on it.
const MAX_DEPTH: usize = 100;
/// The depth of what nothing may hold: it could come to hold itself.
const UNHOLDABLE: usize = usize::MAX;

/// A value. Cloning shares what it holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Undefined,
    None,
    Bool(bool),
    /// Numbers from a message are text from a message once printed.
    Int(i128, Origin),
    Float(f64, Origin),
    Text(Text),
    List(Rc<List>),
    Map(Rc<Map>),
    Namespace(Rc<Namespace>),
    Loop(Rc<Loop>),
    /// The number of a macro in the interpreter's table.
    Macro(usize),
    Function(Function),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Range,
    Dict,
    Namespace,
    RaiseException,
    StrftimeNow,
}

#[derive(Debug)]
pub(super) struct List {
    pub items: Vec<Value>,
    pub tuple: bool,
    depth: usize,
    _held: Held,
}

/// A dictionary, in the order of insertion.
#[derive(Debug)]
pub(super) struct Map {
    pub entries: Vec<(Value, Value)>,
    depth: usize,
    _held: Held,
}

/// What `namespace()` makes: the one thing that can be changed.
#[derive(Debug)]
pub(super) struct Namespace {
    pub names: RefCell<Vec<(Text, Value)>>,
    pub held: RefCell<Held>,
}

/// The variable `loop`.
#[derive(Debug)]
pub(super) struct Loop {
    pub items: Rc<List>,
    pub index: Cell<usize>,
    pub changed: RefCell<Option<Value>>,
}

impl Value {
    /// # Errors
    /// When it is nested too deeply or costs too much.
    pub fn list(items: Vec<Self>, tuple: bool, budget: &Rc<Budget>) -> Result<Self, Failure> {
        Ok(Self::List(Rc::new(List::new(items, tuple, budget)?)))
    }

    /// As [`Value::list`]; of equal keys the last counts.
    pub fn map(pairs: Vec<(Self, Self)>, budget: &Rc<Budget>) -> Result<Self, Failure> {
        let mut entries: Vec<(Self, Self)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            if !matches!(
                key,
                Self::Text(_)
                    | Self::Int(..)
                    | Self::Float(..)
                    | Self::Bool(_)
                    | Self::None
                    | Self::Undefined
                    | Self::List(_)
            ) {
                return Err(failure(format!("{} cannot be a key", key.kind())));
            }
            let mut old = None;
            for (at, (known, _)) in entries.iter().enumerate() {
                if known.equals(&key, budget)? {
                    old = Some(at);
                }
            }
            match old {
                Some(at) => entries[at].1 = value,
                None => entries.push((key, value)),
            }
        }
        Self::unique_map(entries, budget)
    }

    /// As [`Value::map`], of keys that are known to differ.
    pub fn unique_map(entries: Vec<(Self, Self)>, budget: &Rc<Budget>) -> Result<Self, Failure> {
        let depth = deeper(entries.iter().flat_map(|(key, value)| [key, value]))?;
        budget.steps(entries.len())?;
        let held = budget.hold(size_of::<Map>() + entries.capacity() * size_of::<(Self, Self)>())?;
        Ok(Self::Map(Rc::new(Map { entries, depth, _held: held })))
    }

    /// A JSON value of the caller's.
    ///
    /// # Errors
    /// When it is nested too deeply.
    pub fn given(json: &serde_json::Value, origin: Origin) -> Result<Self, Failure> {
        use serde_json::Value as Json;
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Self::Int(i.into(), origin),
                (None, Some(u)) => Self::Int(u.into(), origin),
                (None, None) => Self::Float(n.as_f64().unwrap_or(f64::NAN), origin),
            },
            Json::String(s) => Self::Text(Text::given(s, origin)),
            Json::Array(items) => {
                let items = items.iter().map(|i| Self::given(i, origin)).collect::<Result<Vec<_>, _>>()?;
                let depth = deeper(items.iter())?;
                Self::List(Rc::new(List { items, tuple: false, depth, _held: Held::default() }))
            }
            Json::Object(map) => {
                let pair = |(key, value): (&String, &Json)| {
                    Ok((Self::Text(Text::given(key, origin)), Self::given(value, origin)?))
                };
                Self::given_map(map.iter().map(pair).collect::<Result<Vec<_>, Failure>>()?)?
            }
        })
    }

    /// A dictionary of the caller's.
    ///
    /// # Errors
    /// When it is nested too deeply.
    pub fn given_map(entries: Vec<(Self, Self)>) -> Result<Self, Failure> {
        let depth = deeper(entries.iter().map(|(_, value)| value))?;
        Ok(Self::Map(Rc::new(Map { entries, depth, _held: Held::default() })))
    }

    /// # Errors
    /// When it is a value that nothing may hold.
    pub fn can_be_held(&self) -> Result<(), Failure> {
        deeper(std::iter::once(self)).map(|_| ())
    }

    fn depth(&self) -> usize {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
            Self::Namespace(_) | Self::Loop(_) => UNHOLDABLE,
            _ => 0,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "an undefined value",
            Self::None => "none",
            Self::Bool(_) => "a boolean",
            Self::Int(..) | Self::Float(..) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a dictionary",
            Self::Namespace(_) => "a namespace",
            Self::Loop(_) => "a loop",
            Self::Macro(_) | Self::Function(_) => "a function",
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::Undefined | Self::None => false,
            Self::Bool(b) => *b,
            Self::Int(i, _) => *i != 0,
            Self::Float(f, _) => *f != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Namespace(_) | Self::Loop(_) | Self::Macro(_) | Self::Function(_) => true,
        }
    }

    /// As an integer, where Python takes one.
    pub fn int(&self) -> Option<i128> {
        match self {
            Self::Bool(b) => Some((*b).into()),
            Self::Int(i, _) => Some(*i),
            _ => None,
        }
    }

    /// As a number.
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(f, _) => Some(*f),
            _ => self.int().map(|i| i as f64),
        }
    }

    /// Where a number or a text came from.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Int(_, origin) | Self::Float(_, origin) => *origin,
            Self::Text(text) => text.origin(),
            _ => Origin::Template,
        }
    }

    /// # Errors
    /// When a comparison costs too much.
    pub fn equals(&self, other: &Self, budget: &Budget) -> Result<bool, Failure> {
        budget.steps(1)?;
        Ok(match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => {
                let (a, b) = (a.as_str(), b.as_str());
                budget.bytes(if a.len() == b.len() { a.len() } else { 0 })?;
                a == b
            }
            (Self::List(a), Self::List(b)) => {
                if a.tuple != b.tuple || a.items.len() != b.items.len() {
                    return Ok(false);
                }
                for (a, b) in a.items.iter().zip(&b.items) {
                    if !a.equals(b, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(a), Self::Map(b)) => {
                if a.entries.len() != b.entries.len() {
                    return Ok(false);
                }
                for (key, value) in &a.entries {
                    match b.get(key, budget)? {
                        Some(other) if value.equals(other, budget)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Self::Namespace(a), Self::Namespace(b)) => Rc::ptr_eq(a, b),
            (Self::Macro(a), Self::Macro(b)) => a == b,
            (Self::Function(a), Self::Function(b)) => a == b,
            _ => match (self.int(), other.int()) {
                (Some(a), Some(b)) => a == b,
                _ => self.float().is_some_and(|a| other.float() == Some(a)),
            },
        })
    }

    /// Python's order.
    ///
    /// # Errors
    /// For values that have none.
    pub fn order(&self, other: &Self, budget: &Budget) -> Result<Ordering, Failure> {
        budget.steps(1)?;
        if let (Self::Text(a), Self::Text(b)) = (self, other) {
            let (a, b) = (a.as_str(), b.as_str());
            budget.bytes(a.len().min(b.len()))?;
            return Ok(a.cmp(b));
        }
        if let (Self::List(a), Self::List(b)) = (self, other) {
            for (a, b) in a.items.iter().zip(&b.items) {
                let order = a.order(b, budget)?;
                if order != Ordering::Equal {
                    return Ok(order);
                }
            }
            return Ok(a.items.len().cmp(&b.items.len()));
        }
        let order = match (self.int(), other.int()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => self.float().zip(other.float()).map(|(a, b)| a.partial_cmp(&b).unwrap_or(Ordering::Less)),
        };
        order.ok_or_else(|| failure(format!("{} and {} have no order", self.kind(), other.kind())))
    }

    /// The values that a loop over this one sees.
    ///
    /// # Errors
    /// For what cannot be iterated.
    pub fn items(&self, budget: &Rc<Budget>) -> Result<Rc<List>, Failure> {
        let items = match self {
            Self::List(list) => return Ok(Rc::clone(list)),
            Self::Undefined => Vec::new(),
            Self::Map(map) => map.entries.iter().map(|(key, _)| key.clone()).collect(),
            Self::Text(text) => {
                // Each is a value of its own, so they are charged before they are made.
                let chars = text.as_str().chars().count();
                budget.steps(chars)?;
                drop(budget.hold(chars * size_of::<Self>())?);
                let offsets = text.as_str().char_indices();
                offsets.map(|(at, c)| Self::Text(text.slice(at..at + c.len_utf8()))).collect()
            }
            _ => return Err(failure(format!("{} cannot be iterated", self.kind()))),
        };
        Ok(Rc::new(List::new(items, false, budget)?))
    }
}

/// One more than the depth of the deepest of `values`.
fn deeper<'a>(values: impl Iterator<Item = &'a Value>) -> Result<usize, Failure> {
    match values.map(Value::depth).max().unwrap_or(0) {
        UNHOLDABLE => Err(failure("a namespace or a loop cannot be part of a value".into())),
        depth if depth >= MAX_DEPTH => {
            Err(failure(format!("a value is nested more than {MAX_DEPTH} levels deep")))
        }
        depth => Ok(depth + 1),
    }
}

impl List {
    pub fn new(items: Vec<Value>, tuple: bool, budget: &Rc<Budget>) -> Result<Self, Failure> {
        let depth = deeper(items.iter())?;
        budget.steps(items.len())?;
        let held = budget.hold(size_of::<Self>() + items.capacity() * size_of::<Value>())?;
        Ok(Self { items, tuple, depth, _held: held })
    }
}

impl Map {
    /// # Errors
    /// When the search costs too much.
    pub fn get(&self, key: &Value, budget: &Budget) -> Result<Option<&Value>, Failure> {
        if let Value::Text(text) = key {
            return self.named(text.as_str(), budget);
        }
        for (known, value) in &self.entries {
            if known.equals(key, budget)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The value whose key is this text.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub fn named(&self, name: &str, budget: &Budget) -> Result<Option<&Value>, Failure> {
        budget.steps(self.entries.len() / 16)?;
        let found = self.entries.iter().find(|(key, _)| matches!(key, Value::Text(t) if t.as_str() == name));
        Ok(found.map(|(_, value)| value))
    }
}

/// Charges for a list before it is made.
pub(super) fn room_for(items: usize, budget: &Rc<Budget>) -> Result<Held, Failure> {
    budget.steps(items)?;
    budget.hold(items.saturating_mul(size_of::<Value>()))
}
