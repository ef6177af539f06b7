"""Real programs under an allocator, for scripts/bench: each run returns (seconds, peak resident KiB).

The peak is that of the largest process of the run (for redis the server's). Work files lie in a folder that goes at the end.
"""
import os, shutil, subprocess, sys, tempfile, time

PYTHON = """
import json, random
random.seed(1)
data = [{"id": i, "name": "user %d" % random.randrange(10**6), "tags": [str(random.random()) for _ in range(i % 7)]} for i in range(SIZE)]
for _ in range(3):
    text = json.dumps(data)
    back = json.loads(text)
    index = {}
    for row in back:
        for tag in row["tags"]:
            index.setdefault(tag[:4], []).append((row["id"], tag))
    words = sorted(tag for tags in index.values() for _, tag in tags)
    joined = ",".join(words)
    assert len(joined.split(",")) == len(words)
"""

SQL = """
create table t(id integer primary key, a text, b integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < ROWS)
insert into t select i, 'row ' || (i * 7919 % 104729), i % 1000 from n;
create index ta on t(a);
create index tb on t(b, a);
select count(*), min(a), max(a) from t;
select b, count(*), group_concat(a) from t group by b order by 2 desc limit 5;
select count(*) from t x join t y on x.b = y.b and x.id < y.id where x.b < 20;
"""


def source(functions):
    lines = []
    for i in range(1, functions + 1):
        lines.append(f"static int table{i}[] = {{{i}, {i * 3}, {i * 7 % 31}, {i * i % 97}}};"
                     f"struct s{i} {{ int a, b[{i % 13 + 2}]; struct s{i} *next; }};"
                     f"int f{i}(struct s{i} *p, int n) {{ int sum = 0; for (struct s{i} *q = p; q; q = q->next)"
                     f" for (int i = 0; i < n && i < {i % 13 + 2}; i++) sum += q->b[i] * table{i}[(i + q->a) & 3] ^ (sum >> {i % 5 + 1});"
                     f" switch (sum & 7) {{ case 0: return sum * {i}; case 2: return n; default: return sum; }} }}")
    return "\n".join(lines)


class Programs:
    def __init__(self, quick):
        self.quick = quick

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="ntmm-bench.")
        small = self.quick
        with open(self.path("p.py"), "w") as file:
            file.write(PYTHON.replace("SIZE", "4000" if small else "16000"))
        with open(self.path("q.sql"), "w") as file:
            file.write(SQL.replace("ROWS", "20000" if small else "100000"))
        with open(self.path("large.c"), "w") as file:
            file.write(source(60 if small else 250))
        git = {**os.environ, "HOME": self.work, "GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "e", "GIT_COMMITTER_NAME": "n",
               "GIT_COMMITTER_EMAIL": "e", "GIT_CONFIG_NOSYSTEM": "1"}
        self.git = git
        repo = self.path("repo")
        subprocess.run(["git", "init", "-q", repo], env=git, check=True)
        for commit in range(6 if small else 25):
            for number in range(commit % 5, 200, 5):
                with open(os.path.join(repo, f"file{number}"), "w") as file:
                    file.write("".join(f"{(line * number + commit * 31) % 9973} {line}\n" for line in range(200 + number)))
            subprocess.run(["git", "-C", repo, "add", "-A"], env=git, check=True)
            subprocess.run(["git", "-C", repo, "commit", "-q", "-m", str(commit)], env=git, check=True)
        return self

    def __exit__(self, *error):
        shutil.rmtree(self.work, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.work, name)

    def timed(self, command, env, stdin=None):
        begin = time.monotonic()
        process = subprocess.Popen(command, env=env, stdin=open(stdin) if stdin else subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begin
        process.stderr.close()
        if process.returncode != 0:
            sys.exit(f"bench: {command} ended with {process.returncode}: {errors.decode(errors='replace')[:2000]}")
        return seconds, usage.ru_maxrss

    def python(self, env):
        return self.timed(["python3", self.path("p.py")], {**env, "PYTHONMALLOC": "malloc"})

    def gcc(self, env):
        return self.timed(["gcc", "-O2", "-w", "-c", self.path("large.c"), "-o", "/dev/null"], env)

    def gitpack(self, env):
        return self.timed(["git", "-C", self.path("repo"), "repack", "-q", "-a", "-d", "-f"], {**self.git, **env, "HOME": self.work})

    def gitmany(self, env):
        script = f"for i in $(seq {20 if self.quick else 100}); do git -C {self.path('repo')} status -s; git -C {self.path('repo')} log -1; done"
        return self.timed(["bash", "-c", script], {**self.git, **env, "HOME": self.work})

    def sqlite(self, env):
        return self.timed(["sqlite3", ":memory:"], env, self.path("q.sql"))

    def redis(self, env):
        server = self.path("redis-server")
        if not os.path.exists(server):
            os.symlink(shutil.which("redis-check-rdb"), server) # one program with several names
        socket = self.path("redis.sock")
        process = subprocess.Popen([server, "--port", "0", "--unixsocket", socket, "--dir", self.work, "--save", ""], env=env,
                                   stdout=subprocess.DEVNULL)
        plain = {k: v for k, v in env.items() if k != "LD_PRELOAD"}
        try:
            for _ in range(200):
                if subprocess.run(["redis-cli", "-s", socket, "ping"], env=plain, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL).stdout == b"PONG\n":
                    break
                time.sleep(0.02)
            requests = "10000" if self.quick else "60000"
            begin = time.monotonic()
            for tests, size in (("set,get,lpush,rpop,sadd,hset,zadd", "64"), ("set,hset,lpush", "700")):
                subprocess.run(["redis-benchmark", "-s", socket, "-q", "-c", "8", "-P", "16", "-n", requests, "-r", "20000", "-d", size,
                                "-t", tests], env=plain, stdout=subprocess.DEVNULL, check=True)
            seconds = time.monotonic() - begin
            with open(f"/proc/{process.pid}/status") as file:
                peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        finally:
            process.terminate()
            process.wait()
        return seconds, peak

    def list(self):
        return [("python", "python3: JSON, dicts, sorting; every object from malloc", self.python),
                ("gcc", "gcc -O2 of a large file", self.gcc),
                ("sqlite", "sqlite3 in memory: inserts, indexes, a join", self.sqlite),
                ("git-repack", "git repack -a -d -f", self.gitpack),
                ("git-many", "many short git processes", self.gitmany),
                ("redis", "redis-server under redis-benchmark", self.redis)]
