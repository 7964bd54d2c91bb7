"""Recovery of torchrun (elastic, c10d rendezvous): workers of PyTorch DDP over Gloo that are killed, on an MLP 784-h-h-10 with Adam,
one CPU thread per process. One JSON line: milliseconds from SIGKILL to the next step that all workers have taken, and the steps
that are taken again, since the last checkpoint."""
import argparse, json, os, random, signal, statistics, subprocess, sys, tempfile, time


def worker(folder: str, hidden: int, batch: int, checkpoint_every: int) -> None:
    import torch
    import torch.distributed as dist
    import torch.nn as nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = nn.parallel.DistributedDataParallel(nn.Sequential(
        nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10)))
    optimizer = torch.optim.Adam(model.parameters())
    path, step = os.path.join(folder, "checkpoint.pt"), 0
    if os.path.exists(path):
        state = torch.load(path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    x, y = torch.randn(6000, 784), torch.randint(0, 10, (6000,))
    with open(os.path.join(folder, f"steps-{os.getpid()}"), "w", buffering=1) as steps:
        while True:
            k = (step * batch) % (6000 - batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[k:k + batch]), y[k:k + batch]).backward()
            optimizer.step()
            step += 1
            steps.write(f"{step} {time.monotonic()}\n")
            if step % checkpoint_every == 0 and rank == 0:
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, path + ".tmp")
                os.replace(path + ".tmp", path)


def steps_by_pid(folder: str) -> dict[int, list[tuple[int, float]]]:
    found = {}
    for name in os.listdir(folder):
        if name.startswith("steps-"):
            with open(os.path.join(folder, name)) as lines:
                whole = [line.split() for line in lines.read().split("\n")[:-1]]
            found[int(name.removeprefix("steps-"))] = [(int(step), float(at)) for step, at in whole]
    return found


def wait_for_steps(folder: str, args: argparse.Namespace, known: set[int], at_least: int) -> dict[int, list[tuple[int, float]]]:
    deadline = time.monotonic() + args.timeout
    while time.monotonic() < deadline:
        found = steps_by_pid(folder)
        fresh = {pid: steps for pid, steps in found.items() if pid not in known and os.path.exists(f"/proc/{pid}")}
        if len(fresh) == args.workers and all(len(steps) >= at_least for steps in fresh.values()):
            return fresh
        time.sleep(0.02)
    raise SystemExit(f"torchrun has not taken {at_least} steps with {args.workers} workers within {args.timeout} s")


def measure_one(args: argparse.Namespace) -> tuple[float, int]:
    """A run of its own for each worker that is killed. Milliseconds, and steps lost."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={args.workers}",
                   "--max-restarts=10", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{args.port}", __file__]
        options = {"folder": folder, "hidden": args.hidden, "batch": args.batch, "checkpoint-every": args.checkpoint_every}
        command += [f"--{name}={value}" for name, value in options.items()]
        # With the store of torchrun itself, torch 2.13 may dial the workers of before the restart, and restart without end.
        own = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **own})
        try:
            before = wait_for_steps(folder, args, set(), 20)
            time.sleep(2 + random.random())
            killed = time.monotonic()
            os.kill(random.choice(list(before)), signal.SIGKILL)
            after = wait_for_steps(folder, args, set(before), 1)
            milliseconds = (max(steps[0][1] for steps in after.values()) - killed) * 1e3
            all_steps = steps_by_pid(folder)
            done = max(step for pid in before for step, at in all_steps[pid] if at <= killed)
            return milliseconds, done - (min(steps[0][0] for steps in after.values()) - 1)
        finally:
            run.send_signal(signal.SIGTERM)
            try:
                run.wait(30)
            except subprocess.TimeoutExpired:
                run.kill()


def measure(args: argparse.Namespace) -> None:
    found = [measure_one(args) for _ in range(args.times)]
    ordered = sorted(milliseconds for milliseconds, _ in found)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    print(json.dumps({"peer": "torchrun", "workers": args.workers, "times": args.times, "median": round(statistics.median(ordered), 1),
                      "p95": round(p95, 1), "lostSteps": statistics.median(lost for _, lost in found)}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=64, help="per worker")
    parser.add_argument("--checkpoint-every", type=int, default=100, help="steps")
    parser.add_argument("--times", type=int, default=5, help="workers that are killed, each in a run of its own")
    parser.add_argument("--timeout", type=float, default=120, help="seconds")
    parser.add_argument("--port", type=int, default=29514)
    parser.add_argument("--folder", help="set in the workers that torchrun starts")
    options = parser.parse_args()
    if options.folder:
        worker(options.folder, options.hidden, options.batch, options.checkpoint_every)
    else:
        measure(options)
