//! An older peer must be able to read what a newer one writes: the contract only grows.
//!
//! `proto/baseline/linkspan.bin` holds the descriptors that have been published. After a change
//! that only adds, write it anew with `LINKSPAN_BLESS=1 cargo test -p linkspan-proto`.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Once};

use linkspan_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

/// Everything that goes over the wire, by full name.
#[derive(Default)]
struct Contract {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, EnumDescriptorProto>,
    services: BTreeMap<String, ServiceDescriptorProto>,
}

impl Contract {
    fn decode(bytes: &[u8]) -> Self {
        let set = FileDescriptorSet::decode(bytes).expect("descriptors decode");
        let mut contract = Self::default();
        for file in set.file {
            let package = file.package().to_owned();
            for message in file.message_type {
                contract.add_message(&package, message);
            }
            for item in file.enum_type {
                contract.enums.insert(format!("{package}.{}", item.name()), item);
            }
            for service in file.service {
                contract.services.insert(format!("{package}.{}", service.name()), service);
            }
        }
        contract
    }

    fn add_message(&mut self, scope: &str, message: DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in message.nested_type.clone() {
            self.add_message(&name, nested);
        }
        for item in message.enum_type.clone() {
            self.enums.insert(format!("{name}.{}", item.name()), item);
        }
        self.messages.insert(name, message);
    }
}

/// What an older peer would misread in `new`.
fn breaks(old: &Contract, new: &Contract) -> Vec<String> {
    let mut found = Vec::new();
    for (name, message) in &old.messages {
        match new.messages.get(name) {
            None => found.push(format!("message {name} is gone")),
            Some(now) => message_breaks(name, message, now, &mut found),
        }
    }
    for (name, item) in &old.enums {
        let Some(now) = new.enums.get(name) else {
            found.push(format!("enum {name} is gone"));
            continue;
        };
        for value in &item.value {
            if !now.value.iter().any(|v| v.number == value.number && v.name == value.name) {
                found.push(format!("enum {name}: {} = {} changed", value.name(), value.number()));
            }
        }
    }
    for (name, service) in &old.services {
        for method in &service.method {
            let now = new
                .services
                .get(name)
                .and_then(|service| service.method.iter().find(|m| m.name == method.name));
            if now.is_none_or(|now| {
                now.input_type != method.input_type
                    || now.output_type != method.output_type
                    || now.client_streaming() != method.client_streaming()
                    || now.server_streaming() != method.server_streaming()
            }) {
                found.push(format!("method {name}/{} changed or is gone", method.name()));
            }
        }
    }
    found
}

fn message_breaks(
    name: &str,
    old: &DescriptorProto,
    new: &DescriptorProto,
    found: &mut Vec<String>,
) {
    for field in &old.field {
        match new.field.iter().find(|f| f.number == field.number) {
            None if is_reserved(new, field) => {}
            None => found.push(format!(
                "{name}: field {} = {} is gone and not reserved",
                field.name(),
                field.number()
            )),
            Some(now)
                if now.name != field.name
                    || now.r#type != field.r#type
                    || now.type_name != field.type_name
                    || now.label != field.label
                    || now.oneof_index.is_some() != field.oneof_index.is_some() =>
            {
                found.push(format!("{name}: field {} = {} changed", field.name(), field.number()));
            }
            Some(_) => {}
        }
    }
}

fn is_reserved(message: &DescriptorProto, field: &FieldDescriptorProto) -> bool {
    message
        .reserved_range
        .iter()
        .any(|range| (range.start()..range.end()).contains(&field.number()))
}

fn baseline() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline/linkspan.bin")
}

/// The committed descriptors, written anew first when that was asked for.
fn published() -> Vec<u8> {
    static BLESS: Once = Once::new();
    BLESS.call_once(|| {
        if std::env::var_os("LINKSPAN_BLESS").is_some() {
            fs::write(baseline(), FILE_DESCRIPTOR_SET).expect("the baseline is writable");
        }
    });
    fs::read(baseline()).expect("proto/baseline/linkspan.bin is committed")
}

#[test]
fn the_contract_only_grows() {
    let old = published();
    let found = breaks(&Contract::decode(&old), &Contract::decode(FILE_DESCRIPTOR_SET));
    assert!(found.is_empty(), "an older peer would misread this:\n{}", found.join("\n"));
}

#[test]
fn the_baseline_knows_the_whole_contract() {
    let old = published();
    let found = breaks(&Contract::decode(FILE_DESCRIPTOR_SET), &Contract::decode(&old));
    assert!(
        found.is_empty(),
        "new parts are not in the baseline yet (LINKSPAN_BLESS=1 cargo test -p linkspan-proto):\n{}",
        found.join("\n")
    );
}

#[test]
fn a_removed_renumbered_or_retyped_part_is_found() {
    let old = Contract::decode(FILE_DESCRIPTOR_SET);
    type Damage = fn(&mut Contract);
    let damage: [(&str, Damage); 4] = [
        ("is gone and not reserved", |c| {
            c.messages.get_mut("linkspan.v1.HelloRequest").unwrap().field.remove(0);
        }),
        ("changed", |c| {
            c.messages.get_mut("linkspan.v1.HelloRequest").unwrap().field[0].r#type = Some(9);
        }),
        ("is gone", |c| {
            c.messages.remove("linkspan.v1.Resources");
        }),
        ("method linkspan.v1.AgentService/Hello", |c| {
            c.services.get_mut("linkspan.v1.AgentService").unwrap().method.remove(0);
        }),
    ];
    for (expected, damage) in damage {
        let mut new = Contract::decode(FILE_DESCRIPTOR_SET);
        damage(&mut new);
        let found = breaks(&old, &new);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
    }
}
