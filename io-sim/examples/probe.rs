use evenkeel_sim::{seed::Seed, step, trace::Detail};
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    if args.len() == 1 {
        let r = step::drawn(Seed(args[0]), Detail::Lines(0..u64::MAX));
        for l in r.trace.lines() { println!("{l}"); }
        println!("{r}");
        return;
    }
    let begun = std::time::Instant::now();
    let (mut steps, mut failed) = (0, 0);
    let mut el = std::time::Duration::ZERO;
    for seed in args[0]..args[0]+args[1] {
        let r = step::drawn(Seed(seed), Detail::Hashes);
        steps += r.trace.steps(); el += r.elapsed;
        if let Some((step, b)) = &r.breach { failed += 1; println!("{seed} @{step}/{}: {b}", r.trace.steps()); }
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{failed} failed; {steps} steps {:.0}/s, {:.0} runs/s, {:.1} virtual hours in {took:.1}s", steps as f64/took, args[1] as f64/took, el.as_secs_f64()/3600.);
}
