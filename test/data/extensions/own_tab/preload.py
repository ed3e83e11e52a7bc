def preload(parser):
    parser.add_argument("--own-word", default="preloaded")
