"""python -m train: see run.py. The processes that draw scenes import this file too, so it imports nothing by itself."""

if __name__ == "__main__":
    from train.run import main

    main()
