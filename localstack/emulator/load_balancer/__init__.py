"""A load balancer that carries traffic: `python -m localstack.emulator.load_balancer`.

MiniStack keeps load balancers' records and forwards requests by their Host header, without health
checks, WebSocket and listeners. Here each load balancer is a process of its own, in a container on
the tasks' network whose ports are published on loopback. `control.py` sends it the records and gets
back what it measured; nothing in it knows MiniStack.

    control.py  --records-->  link.py -> routing.py, probes.py -> proxy.py  <-- clients
                <--health, counts, requests in flight--
"""
