#!/bin/sh
# The first process of a lane: see run_lane.sh. It runs twice: in the initramfs, where it loads the modules and mounts
# the disk, then on the disk, where it runs the tests.
#
# /lane/tests on the disk has a line for each: SECONDS PROGRAM. Into /lane/out go the output (NAME.log) and the report
# (NAME, see main.cpp) of each, and "NAME EXIT-CODE" into /lane/out/outcomes.

# What run_lane.sh looks for in the log; the kernel's own messages are in it, too.
log() { echo "lane: $*" >/dev/console; }

if [ ! -e /lane ]; then
  mount -t devtmpfs dev /dev
  log init
  while read -r module; do
    insmod "/modules/$module" || log "cannot load $module"
  done </modules/order
  tries=0
  until mount -t ext4 -o noatime /dev/vda /disk 2>/dev/null || [ $tries -ge 100 ]; do
    tries=$((tries + 1))
    usleep 100000
  done
  exec switch_root /disk /lane/init
fi

mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
# If the project is below /tmp, the tests are on the disk there.
if [ -z "$(ls -A /tmp)" ]; then mount -t tmpfs tmp /tmp; else chmod 1777 /tmp; fi
mount -t tmpfs run /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs security /sys/kernel/security
hostname lane
ip link set lo up

export PATH=/usr/sbin:/usr/bin HOME=/root BOOST_TEST_COLOR_OUTPUT=no
cd /tmp || exit
while read -r seconds program; do
  name=${program##*/}
  log "runs $name"
  begin=$(cut -d. -f1 /proc/uptime)
  TINYBPF_TEST_REPORT=/lane/out/$name timeout -s KILL "$seconds" "$program" </dev/null >"/lane/out/$name.log" 2>&1
  echo "$name $?" >>/lane/out/outcomes
  sync
  log "ran $name in $(($(cut -d. -f1 /proc/uptime) - begin)) s"
done </lane/tests

dmesg >/lane/out/dmesg.log
sync
log end
/lane/exit
log "did not exit"
poweroff -f
