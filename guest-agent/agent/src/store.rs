//! What `containers` wants to know of images, asked of the image store.

use std::sync::Arc;

use linkspan_containers::{
    error::ImageError,
    health::Healthcheck,
    launch::{ImageView, Images},
};
use linkspan_images::{Error, Platform, Store};

use crate::emulation;

/// The store on the data disk.
#[derive(Debug, Clone)]
pub struct GuestImages(pub Arc<Store>);

impl Images for GuestImages {
    fn resolve(&self, reference: &str) -> Result<ImageView, ImageError> {
        let image = self.0.resolve(reference).map_err(|error| match error {
            Error::NotFound { name } => ImageError::NotFound(name),
            Error::InvalidReference(why) => {
                ImageError::Invalid { reference: reference.into(), why: why.to_string() }
            }
            other => ImageError::Unusable { reference: reference.into(), why: other.to_string() },
        })?;
        let here = Platform::here();
        if !here.runs(&image.platform)
            && !emulation::runs(
                &image.platform.architecture,
                emulation::TABLE.as_ref(),
                &image.layers,
            )
        {
            return Err(ImageError::OtherPlatform {
                reference: reference.into(),
                // Of an index, all; what cannot be read names at least what is here.
                platforms: match self.0.platforms(image.id) {
                    Ok(platforms) => platforms.iter().map(ToString::to_string).collect(),
                    Err(_) => vec![image.platform.to_string()],
                },
                here: here.to_string(),
            });
        }
        let config = image.config;
        Ok(ImageView {
            id: image.id.to_string(),
            reference: reference.into(),
            env: config.env,
            entrypoint: config.entrypoint,
            command: config.cmd,
            working_dir: config.working_dir,
            user: config.user,
            stop_signal: config.stop_signal.unwrap_or_default(),
            labels: config.labels,
            health: config.healthcheck.map(|check| Healthcheck {
                test: check.test,
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            }),
            volumes: config.volumes,
            exposed_ports: config.exposed_ports,
            layers: image.layers,
            diff_ids: image.diff_ids.iter().map(ToString::to_string).collect(),
        })
    }
}
