import sys

from hyperserver.cli import main

sys.exit(main())
