//! The verbs at other servers: older releases, and ones of which nobody has heard yet.

use anyhow::{Context, Result};
use xapi_simulator::Personality;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::fault::Fault;

use crate::dice::Dice;
use crate::sweep::mischief::Mischief;
use crate::sweep::outcome::{self, Found};
use crate::sweep::scene::Scene;
use crate::sweep::verb::Verb;

/// Runs a verb at a server of a release, and says what is wrong: it must do what it says and leave nothing behind.
///
/// # Errors
///
/// When the scene cannot be set.
pub async fn of_release(verb: &Verb, personality: Personality) -> Result<Vec<String>> {
    let server = Behaviour { personality, ..Behaviour::default() };
    let (wrong, _) =
        without_fault(verb, server).await.with_context(|| format!("{} at {personality}", verb.name))?;
    Ok(wrong.into_iter().map(|what| format!("{} at {personality}: {what}", verb.name)).collect())
}

/// What came of a verb at a server from the future.
pub struct Future {
    /// What is wrong.
    pub wrong: Vec<String>,
    /// Whether the unheard-of failure struck.
    pub struck: bool,
    /// Whether the verb got over it.
    pub succeeded: bool,
}

/// Runs a verb twice at a server whose answers hold fields, enum values and classes that nobody knows: once as it is,
/// when it must succeed, and once with a failure that no release has at one of its calls.
///
/// # Errors
///
/// When the scene cannot be set.
pub async fn of_the_future(verb: &Verb, seed: u64) -> Result<Future> {
    let server = || Behaviour { strange: Some(seed), ..Behaviour::default() };
    let at = || format!("{} at seed {seed}", verb.name);
    let (wrong, calls) = without_fault(verb, server()).await.with_context(at)?;
    let mut wrong: Vec<String> = wrong.into_iter().map(|what| format!("{}: {what}", at())).collect();
    let mut dice = Dice::new(seed);
    let place = dice.below(calls.len());
    let target = calls.get(place).with_context(|| format!("{} makes no calls", verb.name))?.clone();
    let k = calls[..=place].iter().filter(|call| **call == target).count();
    let mischief = Mischief { target, k, fault: Fault::Unheard };
    let scene = Scene::set_at(verb, server()).await.with_context(at)?;
    let (faults, target) = scene.faults_at(&mischief.target);
    faults.on_nth(target, k, Fault::Unheard);
    let outcome = verb.act.run(&scene).await;
    let struck = faults.clear() == 0;
    let found = outcome::judge(&scene, verb, &mischief, &outcome).await.with_context(at)?;
    wrong.extend(all(found).map(|what| format!("{}: {mischief}: {what}", at())));
    Ok(Future { wrong, struck, succeeded: outcome.is_ok() })
}

/// What is wrong with a verb that nothing stands against, and its calls.
async fn without_fault(verb: &Verb, server: Behaviour) -> Result<(Vec<String>, Vec<String>)> {
    let scene = Scene::set_at(verb, server).await?;
    scene.record();
    let outcome = verb.act.run(&scene).await;
    let calls = scene.recorded();
    if let Err(error) = &outcome {
        return Ok((vec![error.to_string()], calls));
    }
    let nothing = Mischief { target: String::new(), k: 0, fault: Fault::Unheard };
    let found = outcome::judge(&scene, verb, &nothing, &outcome).await?;
    Ok((all(found).collect(), calls))
}

fn all(found: Found) -> impl Iterator<Item = String> {
    found.leaks.into_iter().chain(found.wrong)
}
