//! `ca`: an authority of one's own, and what it issues. What was made and what to do with it is told on stderr.

use crate::args::{Ca, CaAnalyst, CaCommand, CaInit, CaServer};
use crate::authority::{Authority, Subject};
use crate::exit::{Code, Failure};

/// Does what is asked of the authority.
pub(crate) fn ca(args: &Ca) -> Result<Code, Failure> {
    match &args.what {
        CaCommand::Init(args) => init(args),
        CaCommand::Server(args) => server(args),
        CaCommand::Analyst(args) => analyst(args),
    }?;
    Ok(Code::Done)
}

fn init(args: &CaInit) -> Result<(), Failure> {
    let title = match &args.title {
        Some(title) => title.clone(),
        // Two of one name would be taken for each other.
        None => format!("Hindcap CA {:08x}", crate::random() >> 32),
    };
    let until = Authority::init(&args.directory, &title, crate::now())?;
    let dir = args.directory.display();
    eprintln!("hindcap: {dir}/ca.crt is for broker, boxes and analysts; it is valid until {until}");
    eprintln!(
        "hindcap: {dir}/ca.key stays here: whoever has it can be any box and any analyst. Keep a copy in a safe"
    );
    Ok(())
}

fn server(args: &CaServer) -> Result<(), Failure> {
    let authority = Authority::open(&args.directory)?;
    let issued = authority.issue(Subject::Server(&args.name), crate::now())?;
    let name = args.name.first().map(ToString::to_string).unwrap_or_default().replace(':', "-");
    let (certificate, key) = authority.keep("server", &name, &issued, true, args.overwrite)?;
    eprintln!("hindcap: the broker's certificate, valid until {}; for mosquitto:", issued.until);
    eprintln!("  cafile {}", authority.certificate().display());
    eprintln!("  certfile {}", certificate.display());
    eprintln!("  keyfile {}", key.display());
    Ok(())
}

fn analyst(args: &CaAnalyst) -> Result<(), Failure> {
    let authority = Authority::open(&args.directory)?;
    let issued = authority.issue(Subject::Analyst(&args.name), crate::now())?;
    let (certificate, key) = authority.keep("analyst", args.name.as_str(), &issued, true, args.overwrite)?;
    let (ca, name) = (authority.certificate(), &args.name);
    eprintln!("hindcap: the certificate of {name}, valid until {}. In a profile of {name}:", issued.until);
    eprintln!("  ca = {:?}\n  cert = {certificate:?}\n  key = {key:?}", ca);
    eprintln!("hindcap: the broker must know what analyst:{name} may do; in mosquitto's acl file:");
    eprintln!("  user analyst:{name}\n  topic read hindcap/v1/+/up/#\n  topic write hindcap/v1/+/down/#");
    Ok(())
}
