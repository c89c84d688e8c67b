//! What the server is shipped with: the files for Docker, Compose and Kubernetes say what they mean, and what the server knows.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde::Deserialize;
use tempfile::TempDir;

use crate::support::{Finished, glassbox, project, python, run};

#[test]
fn compose_says_only_what_its_schema_knows_and_what_the_server_knows() {
    let printed = python("python/deploy_compose.py", &[project().to_str().unwrap()], "");
    let containers: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&printed).unwrap();
    assert_eq!(containers.len(), 4, "{containers:?}");
    let secrets = TempDir::new().unwrap();
    let made = run(Command::new(project().join("deploy/compose/secrets.sh")).arg(secrets.path()));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    for (name, variables) in containers {
        let mut check = check_config(&project().join("config/container.toml"));
        for (variable, value) in variables {
            check.env(variable, value.replace("/run/secrets", secrets.path().to_str().unwrap()));
        }
        accepts(&name, &run(&mut check));
    }
}

#[test]
fn kubernetes_and_kustomize_know_what_is_asked_of_them_and_so_does_the_server() {
    #[derive(Deserialize)]
    struct Container {
        file: String,
        variables: BTreeMap<String, String>,
        command: Vec<String>,
    }
    let printed = python("python/deploy_kubernetes.py", &[project().to_str().unwrap()], "");
    let containers: BTreeMap<String, Container> = serde_json::from_str(&printed).unwrap();
    assert_eq!(containers.len(), 3);
    let folder = TempDir::new().unwrap();
    for (name, Container { file, variables, command }) in containers {
        assert_eq!(command[1..], ["--config", "/etc/glassbox/glassbox.toml"], "{name}");
        let path = folder.path().join("glassbox.toml");
        fs::write(&path, file).unwrap();
        let mut check = check_config(&path);
        for (variable, value) in variables {
            let Some(secret) = value.strip_prefix("/etc/glassbox/urls/") else {
                check.env(variable, value);
                continue;
            };
            let scheme = secret.strip_suffix("_url").unwrap();
            fs::write(folder.path().join(secret), format!("{scheme}://user:password@host/1")).unwrap();
            check.env(variable, folder.path().join(secret));
        }
        accepts(&name, &run(&mut check));
    }
}

#[test]
fn prometheus_reads_its_configuration_in_compose() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::copy(project().join("deploy/compose/prometheus.yml"), &file).unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    for rules in fs::read_dir(project().join("prometheus/rules")).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(rules.path(), folder.path().join("rules").join(rules.file_name())).unwrap();
    }
    let checked = run(Command::new("promtool").args(["check", "config"]).arg(file));
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    assert!(checked.stdout.contains("2 rule files found"), "{}", checked.stdout);
}

#[test]
fn the_image_is_made_of_pinned_parts_and_says_which_version_it_is() {
    let dockerfile = fs::read_to_string(project().join("Dockerfile")).unwrap();
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split_whitespace().next());
    let bases: Vec<&str> = bases.collect();
    assert_eq!(bases.last(), Some(&"scratch"));
    for base in &bases[..bases.len() - 1] {
        let version = base.split_once(':').map_or("", |(_, tag)| tag.split('-').next().unwrap());
        assert!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() >= 2, "{base} is not pinned");
    }
    for line in [
        concat!("org.opencontainers.image.version=\"", env!("CARGO_PKG_VERSION"), "\" \\"),
        concat!("org.opencontainers.image.description=\"", env!("CARGO_PKG_DESCRIPTION"), "\" \\"),
        "USER 10001:10001",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"glassbox\"]",
    ] {
        assert!(dockerfile.lines().any(|found| found.trim() == line || found.ends_with(line)), "{line}");
    }
    let makefile = fs::read_to_string(project().join("Makefile")).unwrap();
    assert!(makefile.contains(concat!("--tag glassbox:", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_the_documents_name_is_there() {
    let makefile = fs::read_to_string(project().join("Makefile")).unwrap();
    let mut checked = 0;
    for document in ["README.md", "DEPLOYMENT.md", "SECURITY.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "BENCHMARK.md"]
    {
        let text = fs::read_to_string(project().join(document)).unwrap();
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            match link.split_once('#').unwrap_or((link, "")) {
                ("", heading) => assert!(headings.iter().any(|one| one == heading), "{document}: #{heading}"),
                (address, _) if address.contains("://") => continue,
                (file, _) => assert!(project().join(file).exists(), "{document}: {file}"),
            }
            checked += 1;
        }
        let words = text.split(|c: char| c.is_whitespace() || "`()\"',;:".contains(c));
        for word in
            words.filter(|word| ["deploy/", "scripts/", "config/"].iter().any(|folder| word.starts_with(folder)))
        {
            let file = word.trim_end_matches('.');
            let there = file.contains("secrets/") || file.contains('*') || project().join(file).exists();
            // Modules are named by their path under src/.
            assert!(there || project().join("src").join(file).exists(), "{document}: {file}");
            checked += 1;
        }
        for target in text.split("`make ").skip(1).filter_map(|rest| rest.split(['`', ' ']).next()) {
            assert!(makefile.contains(&format!("\n{target}: ")), "{document}: make {target}");
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} names were found");
}

/// A heading's name, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn check_config(file: &Path) -> Command {
    let mut command = glassbox(&["check-config", "--config"]);
    command.arg(file);
    command
}

fn accepts(name: &str, finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{name}: {}", finished.stderr);
    assert!(!finished.stdout.contains("password@"), "{name}");
}
