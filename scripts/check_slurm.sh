#!/usr/bin/env bash
# Checks --launcher slurm with a real Slurm of one node, in a few minutes. It starts and stops that Slurm itself:
#   apt-get install slurmctld slurmd slurm-client munge; pip install -r requirements-slurm.txt
#   sudo bash scripts/check_slurm.sh
# Configuration, key, sockets and logs are in one temporary folder. slurmd needs root.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || { echo "error: $program is missing: apt-get install slurmctld slurmd slurm-client munge" >&2; exit 2; }
done
"$PYTHON" -c "import submitit" || { echo "error: pip install -r requirements-slurm.txt" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "error: slurmd needs root" >&2; exit 2; }

here=$(mktemp -d /tmp/check-slurm.XXXXXX)
chmod 755 "$here"
mkdir "$here/spool" "$here/state"
processes=()
finish() {
    for pid in "${processes[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ "${passed:-no}" = yes ]; then rm -rf "$here"; else echo "logs are in $here" >&2; fi
}
trap finish EXIT

dd if=/dev/urandom of="$here/munge.key" bs=1024 count=1 status=none
chmod 400 "$here/munge.key"
munged --foreground --force --key-file="$here/munge.key" --socket="$here/munge.socket" --pid-file="$here/munge.pid" \
    --seed-file="$here/munge.seed" >"$here/munge.log" 2>&1 &
processes+=($!)

node=$(hostname -s)
cat >"$here/slurm.conf" <<CONF
ClusterName=check
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$here/munge.socket
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=check Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$here/slurm.conf
for _ in $(seq 50); do [ -S "$here/munge.socket" ] && break; sleep 0.2; done
slurmctld -D >/dev/null 2>&1 &
processes+=($!)
slurmd -D >/dev/null 2>&1 &
processes+=($!)
for _ in $(seq 60); do sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 1; done
sinfo

root=$here/data
words=(--methods "CoOp" --shots 1,2 --seeds 1 --stack 1 --root "$root" OPTIM.MAX_EPOCH 300)
export OMP_NUM_THREADS=1
"$PYTHON" -m sweep run "${words[@]}" --launcher slurm --slurm partition=check --slurm time=10 --slurm-parallel 1 \
    --output "$here/slurm" &
sweep=$!
# Once the first job has finished an epoch, it gets the signal of a pre-emption, and submitit requeues it.
for _ in $(seq 240); do [ -n "$(find "$here/slurm" -name checkpoint.pth 2>/dev/null)" ] && break; sleep 0.5; done
job=$(squeue -h -t running -o %i | head -1)
echo "pre-empting job ${job:-(none)}"
[ -z "$job" ] || timeout 30 scancel --signal=USR2 "$job"
# The second job is cancelled. This Slurm has no accounting, so the sweep finds it missing and tries it again.
for _ in $(seq 240); do
    lost=$(squeue -h -t running -o %i | grep -vx "${job:-none}" | head -1 || true)
    [ -n "$lost" ] && [ "$(find "$here/slurm" -name checkpoint.pth 2>/dev/null)" ] && break
    sleep 0.5
done
echo "cancelling job ${lost:-(none)}"
[ -z "$lost" ] || scancel "$lost"
wait "$sweep"
"$PYTHON" -m sweep run "${words[@]}" --output "$here/local" >/dev/null
"$PYTHON" - "$here" <<'PYTHON'
import json
import sys
from pathlib import Path

here = Path(sys.argv[1])
found = {}
for name in ("slurm", "local"):
    results = {path.relative_to(here / name): json.loads(path.read_text()) for path in (here / name).rglob("results.json")}
    found[name] = {str(path): (result["metrics"], result["loss_per_epoch"]) for path, result in results.items()}
assert len(found["slurm"]) == 2 and found["slurm"] == found["local"], "the results differ"
resumed = [path for path in (here / "slurm").rglob("log.txt*") if "Resumed from" in path.read_text()]
print(f"2 runs through Slurm equal those of this machine; {len(resumed)} continued after a pre-emption or a loss")
PYTHON
passed=yes
