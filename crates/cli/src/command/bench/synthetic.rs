//! Models that exist only in memory.

use std::{io::Write, sync::Arc};

use ternlight_core::{
    format::Encoding,
    load::{LoadOptions, Loader},
    model::Model,
    pool::Pool,
};

use super::super::{
    random_weights::Random,
    shapes::Made,
    synth::{items, weights},
};
use crate::{
    Result,
    console::Console,
    failure::Failure,
    model_file::{self, Config, Family, FamilyConfig, Format},
};

/// How models are made.
pub struct Maker<'a> {
    pub options: LoadOptions,
    pub pool: Arc<dyn Pool>,
    /// The share of zeros among the gates of an a4.8 shape.
    pub sparsity: f32,
    pub console: &'a Console,
}

impl Maker<'_> {
    /// Its name and the model.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn make(&self, made: Made) -> Result<(String, Model)> {
        match made {
            Made::Config(config) => self.config(config),
            Made::Family(family) => self.family(family),
        }
    }

    /// A model that every [`Format`] can hold.
    fn config(&self, config: Config) -> Result<(String, Model)> {
        let (format, float) =
            if config.a48 { (Format::HfPacked, Encoding::BF16) } else { (Format::I2S, Encoding::F16) };
        let items = items(&config, format, float)?;
        let json = model_file::hf_config(&config, None, None).to_string();
        let model = self.load((format == Format::HfPacked).then_some(&json), |into| {
            let mut rows = weights(&config, 1, &items, self.sparsity);
            model_file::stream_model(&config, &items, &mut *rows, format, into, self.console).map(|_| ())
        })?;
        Ok((config.name, model))
    }

    /// A model of a family that has its own way to be stored.
    fn family(&self, family: Family) -> Result<(String, Model)> {
        let tensors = family.tensors()?;
        let json = match &family.config {
            FamilyConfig::Json(config) => Some(config.to_string()),
            FamilyConfig::Meta(_) => None,
        };
        let model = self.load(json.as_ref(), |into| {
            let mut rows = Random::new(1, &tensors.items);
            model_file::stream_family(&family, &tensors, &mut rows, into, self.console)
        })?;
        Ok((family.name, model))
    }

    /// Loads what `stream` writes.
    fn load(
        &self,
        config: Option<&String>,
        stream: impl FnOnce(&mut IntoLoader) -> Result<()>,
    ) -> Result<Model> {
        let mut loader = Loader::new(self.options.clone()).with_pool(self.pool.clone());
        if let Some(config) = config {
            loader.config(config)?;
        }
        loader.begin_file("synthetic", None)?;
        let mut into = IntoLoader { loader, failure: None };
        let made = stream(&mut into);
        if let Some(failure) = into.failure {
            return Err(failure);
        }
        made?;
        into.loader.end_file()?;
        Ok(into.loader.finish()?)
    }
}

/// Lets a writer write into a loader; keeps the loader's error, which `io::Error` would only wrap.
struct IntoLoader {
    loader: Loader,
    failure: Option<Failure>,
}

impl Write for IntoLoader {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.loader.push(bytes).map(|()| bytes.len()).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error.into());
            std::io::Error::other(text)
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
