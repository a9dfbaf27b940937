#!/bin/sh
# Prints the Python that sets up .venv: $PYTHON if given, else the environment's own, else the first one that will do.
# Each is tried, not believed: pyenv, for one, puts a python3.12 on the path that only says it is not selected.
will_do='import sys, importlib.util as i; sys.exit(sys.version_info < (3, 10) or not i.find_spec("ensurepip"))'
new_enough='import sys; sys.exit(sys.version_info < (3, 10))'
name_itself='import sys; print("Python %d.%d at %s" % (sys.version_info[0], sys.version_info[1], sys.executable))'

if [ -n "$PYTHON" ]; then
  set -- "$PYTHON"
else # 3.12 first: it is Slicer's own
  set -- .venv/bin/python python3.12 python3.13 python3.11 python3.10 python3.14 python3 python
fi

too_old=
bare=
for candidate in "$@"; do
  if "$candidate" -c "$will_do" 2>/dev/null; then
    echo "$candidate"
    exit 0
  fi
  found=$("$candidate" -c "$name_itself" 2>/dev/null) || continue
  if "$candidate" -c "$new_enough" 2>/dev/null; then
    bare=${bare:-$found}
  else
    too_old=${too_old:-$found}
  fi
done

remedy='or name one that will do: make PYTHON=/path/to/python3.12'
if [ -n "$bare" ]; then
  version=${bare#Python }
  echo "$bare cannot make virtual environments: install what it lacks" \
    "(Debian, Ubuntu: sudo apt install python${version%% *}-venv), $remedy" >&2
elif [ -n "$too_old" ]; then
  echo "SpleenSmoothSeg needs Python 3.10 or newer, and this is $too_old: install a newer one, $remedy" >&2
elif [ -n "$PYTHON" ]; then
  echo "PYTHON=$PYTHON does not run as a Python 3: check the path, or leave it out to have one found." >&2
else
  echo "SpleenSmoothSeg needs Python 3.10 or newer, and none was found: install one, $remedy" >&2
fi
exit 1
