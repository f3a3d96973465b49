//! The filters over lists.

use std::{cmp::Ordering, rc::Rc};

use super::{
    Budget, Failure,
    arguments::Arguments,
    failure,
    functions::{attribute, item},
    interpreter::Interpreter,
    operators,
    text::{Builder, Origin, Text},
    value::{Value, room_for},
};

impl<'t> Interpreter<'t> {
    /// Filters over what can be iterated.
    ///
    /// # Errors
    /// As [`Interpreter::filter`].
    pub fn list_filter(
        &mut self,
        name: &str,
        value: Value,
        mut args: Arguments<'t>,
    ) -> Result<Value, Failure> {
        let budget = Rc::clone(&self.budget);
        let known = [
            "list",
            "first",
            "last",
            "reverse",
            "join",
            "sum",
            "min",
            "max",
            "sort",
            "unique",
            "batch",
            "slice",
            "groupby",
            "map",
            "select",
            "reject",
            "selectattr",
            "rejectattr",
        ];
        if !known.contains(&name) {
            return Err(failure(format!("there is no filter `{name}`")));
        }
        let list = value.items(&budget)?;
        let items = &list.items;
        let result = match name {
            "list" => Value::List(Rc::clone(&list)),
            "first" => items.first().cloned().unwrap_or(Value::Undefined),
            "last" => items.last().cloned().unwrap_or(Value::Undefined),
            "reverse" => {
                let room = room_for(items.len(), &budget)?;
                let reversed: Vec<_> = items.iter().rev().cloned().collect();
                drop(room);
                match value {
                    Value::Text(_) => join(&reversed, &Text::default(), &budget)?,
                    _ => Value::list(reversed, false, &budget)?,
                }
            }
            "join" => {
                let separator = args.given("d").map_or(Ok(Text::default()), |d| d.to_text(&budget))?;
                match args.given("attribute") {
                    Some(path) => join(&self.attributes(items, &path)?, &separator, &budget)?,
                    None => join(items, &separator, &budget)?,
                }
            }
            "sum" => {
                let path = args.given("attribute");
                let start = args.given("start").unwrap_or(operators::ZERO);
                match path {
                    Some(path) => operators::sum(&self.attributes(items, &path)?, start, &budget)?,
                    None => operators::sum(items, start, &budget)?,
                }
            }
            "min" | "max" | "sort" => {
                let reverse = if name == "sort" { args.flag("reverse", false) } else { name == "max" };
                let sorted = self.sorted(items, reverse, &mut args)?;
                match name {
                    "sort" => Value::list(sorted, false, &budget)?,
                    _ => sorted.into_iter().next().unwrap_or(Value::Undefined),
                }
            }
            "unique" => {
                let sensitive = args.flag("case_sensitive", false);
                let keys = self.keys(items, args.given("attribute").as_ref(), sensitive)?;
                let mut seen: Vec<usize> = Vec::new();
                for (i, key) in keys.iter().enumerate() {
                    let mut new = true;
                    for &j in &seen {
                        new &= !keys[j].equals(key, &budget)?;
                    }
                    if new {
                        seen.push(i);
                    }
                }
                Value::list(seen.into_iter().map(|i| items[i].clone()).collect(), false, &budget)?
            }
            "batch" | "slice" => chunks(name, items, &mut args, &budget)?,
            "groupby" => self.groups(items, &mut args)?,
            "map" => return self.map_filter(items, args),
            _ => return self.select(name, items, args),
        };
        args.done(name)?;
        Ok(result)
    }

    /// `a.b` or a number, of every item.
    fn attributes(&self, items: &[Value], path: &Value) -> Result<Vec<Value>, Failure> {
        drop(room_for(items.len(), &self.budget)?);
        items.iter().map(|item| self.path(item, path)).collect()
    }

    fn path(&self, value: &Value, path: &Value) -> Result<Value, Failure> {
        let Value::Text(path) = path else { return item(value, path, &self.budget) };
        path.as_str().split('.').try_fold(value.clone(), |value, name| match name.parse::<i128>() {
            Ok(index) => item(&value, &Value::Int(index, Origin::Template), &self.budget),
            Err(_) => attribute(&value, name, &self.budget),
        })
    }

    /// What items are compared by.
    fn keys(&self, items: &[Value], path: Option<&Value>, sensitive: bool) -> Result<Vec<Value>, Failure> {
        let keys = match path {
            Some(path) => self.attributes(items, path)?,
            None => {
                drop(room_for(items.len(), &self.budget)?);
                items.to_vec()
            }
        };
        let fold = |key: Value| match key {
            Value::Text(text) if !sensitive => Ok(Value::Text(text.map(&self.budget, str::to_lowercase)?)),
            key => Ok(key),
        };
        keys.into_iter().map(fold).collect()
    }

    /// Stable; without the first of equal items moving, also in reverse.
    fn sorted(
        &self,
        items: &[Value],
        reverse: bool,
        args: &mut Arguments<'t>,
    ) -> Result<Vec<Value>, Failure> {
        let sensitive = args.flag("case_sensitive", false);
        let keys = self.keys(items, args.given("attribute").as_ref(), sensitive)?;
        let mut order: Vec<usize> = (0..items.len()).collect();
        let mut failed = None;
        order.sort_by(|&a, &b| {
            if failed.is_some() {
                return Ordering::Equal;
            }
            let order = keys[a].order(&keys[b], &self.budget).unwrap_or_else(|f| {
                failed = Some(f);
                Ordering::Equal
            });
            if reverse { order.reverse() } else { order }
        });
        match failed {
            Some(failure) => Err(failure),
            None => Ok(order.into_iter().map(|i| items[i].clone()).collect()),
        }
    }

    /// `items` and `dictsort`.
    ///
    /// # Errors
    /// For what is no dictionary.
    pub fn pairs(&self, name: &str, value: &Value, args: &mut Arguments<'t>) -> Result<Value, Failure> {
        if name == "items" && matches!(value, Value::Undefined) {
            return Value::list(Vec::new(), false, &self.budget);
        }
        let Value::Map(map) = value else {
            return Err(failure(format!("`{name}` of {} is not defined", value.kind())));
        };
        drop(room_for(map.entries.len() * 3, &self.budget)?);
        let pair =
            |(key, value): &(Value, Value)| Value::list(vec![key.clone(), value.clone()], true, &self.budget);
        let pairs = map.entries.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
        if name == "items" {
            return Value::list(pairs, false, &self.budget);
        }
        let sensitive = args.flag("case_sensitive", false);
        let by_value = args.optional_text("by")?.is_some_and(|by| by.as_str() == "value");
        let reverse = args.flag("reverse", false);
        let mut options = Arguments::default();
        options.named("case_sensitive", Value::Bool(sensitive));
        options.named("attribute", Value::Int(by_value.into(), Origin::Template));
        Value::list(self.sorted(&pairs, reverse, &mut options)?, false, &self.budget)
    }

    /// Lists of neighbours with equal keys, sorted, each with its key: `(grouper, list)`.
    fn groups(&self, items: &[Value], args: &mut Arguments<'t>) -> Result<Value, Failure> {
        let path = args.required("attribute")?;
        let mut options = Arguments::default();
        options.named("attribute", path.clone());
        let sorted = self.sorted(items, false, &mut options)?;
        let (mut groups, mut group, mut current) = (Vec::new(), Vec::new(), None::<Value>);
        let close = |key: Option<Value>, group: Vec<Value>| {
            key.map(|key| {
                let list = Value::list(group, false, &self.budget)?;
                Value::list(vec![key, list], true, &self.budget)
            })
            .transpose()
        };
        for item in sorted {
            let key = self.path(&item, &path)?;
            let same = current.as_ref().map(|c| c.equals(&key, &self.budget)).transpose()?;
            if same != Some(true) {
                groups.extend(close(current.replace(key), std::mem::take(&mut group))?);
            }
            group.push(item);
        }
        groups.extend(close(current, group)?);
        Value::list(groups, false, &self.budget)
    }

    /// `map(attribute=…)` or `map('filter', …)`.
    fn map_filter(&mut self, items: &[Value], mut args: Arguments<'t>) -> Result<Value, Failure> {
        drop(room_for(items.len(), &self.budget)?);
        let mapped = if let Some(path) = args.take_named("attribute") {
            let default = args.take_named("default");
            args.done("map")?;
            let pick = |item| match self.path(item, &path)? {
                Value::Undefined => Ok(default.clone().unwrap_or(Value::Undefined)),
                value => Ok(value),
            };
            items.iter().map(pick).collect::<Result<Vec<_>, Failure>>()?
        } else {
            let name = args.text("filter")?;
            let (positional, named) = args.rest();
            let mut mapped = Vec::new();
            for item in items {
                let args = again(&positional, &named);
                mapped.push(self.nested(|this| this.filter(name.as_str(), item.clone(), args))?);
            }
            mapped
        };
        Value::list(mapped, false, &self.budget)
    }

    fn select(&mut self, name: &str, items: &[Value], mut args: Arguments<'t>) -> Result<Value, Failure> {
        let path = if name.ends_with("attr") { Some(args.required("attribute")?) } else { None };
        let check = args.optional_text("test")?;
        let (positional, named) = args.rest();
        let mut selected = Vec::new();
        for item in items {
            let value = match &path {
                Some(path) => self.path(item, path)?,
                None => item.clone(),
            };
            let holds = match &check {
                Some(check) => self.check(check.as_str(), &value, again(&positional, &named))?,
                None => value.is_true(),
            };
            if holds == name.starts_with("select") {
                selected.push(item.clone());
            }
        }
        Value::list(selected, false, &self.budget)
    }
}

fn again<'t>(positional: &[Value], named: &[(std::borrow::Cow<'t, str>, Value)]) -> Arguments<'t> {
    let mut args = Arguments::default();
    positional.iter().for_each(|value| args.push(value.clone()));
    named.iter().for_each(|(name, value)| args.named(name.clone(), value.clone()));
    args
}

pub(super) fn join(items: &[Value], separator: &Text, budget: &Rc<Budget>) -> Result<Value, Failure> {
    let mut out = Builder::new(budget)?;
    for (i, item) in items.iter().enumerate() {
        budget.steps(1)?;
        if i > 0 {
            out.push_text(separator)?;
        }
        item.write(&mut out)?;
    }
    Ok(Value::Text(out.finish()))
}

/// `batch(n)`: lists of `n`; `slice(n)`: `n` lists.
fn chunks(
    name: &str,
    items: &[Value],
    args: &mut Arguments<'_>,
    budget: &Rc<Budget>,
) -> Result<Value, Failure> {
    let count = args.count("count")?.filter(|&count| count > 0);
    let count = count.ok_or_else(|| failure(format!("`{name}` needs a number above 0")))?;
    let fill = args.given("fill_with");
    let mut lists = Vec::new();
    let mut add = |part: &[Value], fill: usize, with: Option<&Value>| {
        let filled = with.map_or(0, |_| fill);
        drop(room_for(part.len().saturating_add(filled), budget)?);
        let more = with.into_iter().flat_map(|with| std::iter::repeat_n(with, filled));
        lists.push(Value::list(part.iter().chain(more).cloned().collect(), false, budget)?);
        Ok::<_, Failure>(())
    };
    if name == "batch" {
        for part in items.chunks(count) {
            add(part, count - part.len(), fill.as_ref())?;
        }
    } else {
        let (short, longer) = (items.len() / count, items.len() % count);
        let mut at = 0;
        for i in 0..count {
            let len = short + usize::from(i < longer);
            add(&items[at..at + len], usize::from(longer > 0 && i >= longer), fill.as_ref())?;
            at += len;
        }
    }
    Value::list(lists, false, budget)
}
